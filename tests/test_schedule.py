"""The beat schedule: written at every start, the same however often and by however many."""

from __future__ import annotations

import threading
from datetime import timedelta

from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import ModelEntry

from gateway_app import schedule, tasks
from gateway_app.queues import Queue
from hermes_site.celery import app

NAMES = ("sweep", "canary", "access", "sessions", "flushes", "media")


class ScheduleTests(TestCase):
    @override_settings(SWEEP_SECONDS=3.0, CANARY_SECONDS=15.0)
    def test_what_the_fleet_does_by_the_clock_is_scheduled(self) -> None:
        self.assertEqual(schedule.ensure(), len(schedule.entries()))
        rows = [PeriodicTask.objects.get(name=f"gateway: {name}") for name in NAMES]
        self.assertEqual(
            [row.task for row in rows],
            [
                tasks.sweep.name,
                tasks.canary.name,
                tasks.tend_access.name,
                tasks.end_sessions.name,
                tasks.flush_memory.name,
                tasks.expire_media.name,
            ],
        )
        periods = (3, 15, 60, 300, 15, 600)
        self.assertEqual([str(row.interval) for row in rows], [f"every {period} seconds" for period in periods])
        self.assertEqual([row.expire_seconds for row in rows], [10, 15, 60, 300, 15, 600])
        self.assertEqual({row.queue for row in rows}, {Queue.MAINTENANCE.value})

    @override_settings(SWEEP_SECONDS=0.5)
    def test_beat_reads_a_period_below_a_second(self) -> None:
        schedule.ensure()
        entry = ModelEntry(PeriodicTask.objects.get(name="gateway: sweep"), app=app)
        self.assertEqual(entry.schedule.run_every, timedelta(seconds=0.5))
        self.assertEqual(entry.options["expires"], 10)
        self.assertEqual(entry.options["queue"], Queue.MAINTENANCE.value)

    def test_the_first_run_of_a_new_entry_is_due_at_once(self) -> None:
        schedule.ensure()
        for row in PeriodicTask.objects.all():
            self.assertTrue(ModelEntry(row, app=app).is_due().is_due)

    def test_a_second_time_writes_nothing(self) -> None:
        schedule.ensure()
        changed = PeriodicTasks.last_change()
        self.assertEqual(schedule.ensure(), 0)
        self.assertEqual(PeriodicTasks.last_change(), changed)
        self.assertEqual(PeriodicTask.objects.count(), len(schedule.entries()))

    def test_a_new_setting_is_taken_over_and_beat_is_told(self) -> None:
        schedule.ensure()
        PeriodicTasks.objects.update(last_update="2020-01-01T00:00:00Z")
        with override_settings(CANARY_SECONDS=30.0):
            self.assertEqual(schedule.ensure(), 1)
        self.assertEqual(str(PeriodicTask.objects.get(name="gateway: canary").interval), "every 30 seconds")
        self.assertGreater(PeriodicTasks.last_change().year, 2020)

    def test_what_an_operator_edited_is_put_back_but_the_switch_stays(self) -> None:
        schedule.ensure()
        PeriodicTask.objects.filter(name="gateway: sweep").update(enabled=False, queue=None, task="other", one_off=True)
        self.assertEqual(schedule.ensure(), 1)
        row = PeriodicTask.objects.get(name="gateway: sweep")
        self.assertEqual(
            (row.enabled, row.queue, row.task, row.one_off), (False, "maintenance", tasks.sweep.name, False)
        )

    def test_other_entries_are_left_alone(self) -> None:
        interval = IntervalSchedule.objects.create(every=7, period=IntervalSchedule.DAYS)
        other = PeriodicTask.objects.create(name="mine", task="mine", interval=interval)
        schedule.ensure()
        other.refresh_from_db()
        self.assertEqual((other.task, other.interval_id), ("mine", interval.pk))


class ConcurrentScheduleTests(TransactionTestCase):
    def test_two_starts_at_once_make_one_row_each(self) -> None:
        # Seen to fail on PostgreSQL with an IntegrityError where ignore_conflicts is taken out.
        schedule.ensure()
        PeriodicTask.objects.all().delete()  # the intervals stay, or making them would let one start wait for the other
        results: list[int | Exception] = []

        def start() -> None:
            try:
                results.append(schedule.ensure())
            except Exception as error:
                results.append(error)
            finally:
                connection.close()

        other = threading.Thread(target=start)
        with transaction.atomic():
            self.assertEqual(schedule.ensure(), len(schedule.entries()))
            other.start()
            other.join(0.3)  # long enough to find no rows and to try to make them
            self.assertTrue(other.is_alive())
        other.join(20)
        self.assertIsInstance(results[0], int)
        self.assertEqual(PeriodicTask.objects.count(), len(schedule.entries()))
