"""Writing to Honcho: order, batches, poison, and requests of which nobody knows what came."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from unittest import mock

from django.db import transaction
from django.utils import timezone

from gateway_app import doorbell, lanes
from gateway_app.models import Lane
from gateway_app.models.lane import LaneKind
from honcho_app import generations, ledger, names, posting, sending, writes
from honcho_app.models import HonchoWrite
from honcho_app.pause import Pause, pause
from tests import pipeline
from tests.configuration import configured
from tests.honcho_case import SendingCase
from tests.pipeline_case import expire_leases


class BatchTests(SendingCase):
    def test_what_waits_goes_in_one_request(self) -> None:
        self.say("one", "two", "three")
        self.write()
        self.assertEqual(self.posts(), [self.transcript()])
        self.assert_stored_once()

    def test_no_request_has_more_messages_than_honcho_takes(self) -> None:
        self.use(messageMaxChars=1)
        self.say("x" * 230)
        self.write()
        sizes = [len(each) for each in self.posts()]
        self.assertEqual((sum(sizes), max(sizes)), (HonchoWrite.objects.count(), 100))
        self.assertEqual("".join(self.stored()), "".join(self.transcript()).replace(" ", ""))

    def test_no_request_is_larger_than_a_server_takes(self) -> None:
        self.say("x" * 30, "y" * 30)
        with mock.patch.object(writes, "MOST_CHARS", 70):
            self.write()
        self.assertEqual([len(each) for each in self.posts()], [2, 2])
        self.assert_stored_once()

    def test_a_lane_that_another_worker_has_is_left_to_it(self) -> None:
        self.say("hello")
        lanes.claim(kind=LaneKind.HONCHO, key=self.key())
        self.write()
        self.assertEqual(self.posts(), [])

    def test_a_task_goes_on_with_other_lanes_that_are_due(self) -> None:
        for user in ("ann", "bob", "cy"):
            self.say("hello", user=user)
        self.write("bob")
        for user in ("ann", "bob", "cy"):
            self.assert_stored_once(user)

    def test_a_lane_that_is_drained_is_not_rung_for(self) -> None:
        self.say("hello")
        self.write()
        self.assertIsNone(Lane.objects.get(kind=LaneKind.HONCHO).wake_at)
        self.assertTrue(ledger.is_drained(honcho_session_key=self.key()))


class SweepTests(SendingCase):
    def test_the_sweep_rings_for_what_waits(self) -> None:
        self.say("hello")
        doorbell.sweep()
        self.assertEqual(list(doorbell.ring_honcho.call_args.args[0]), [self.key()])

    def test_a_long_backlog_keeps_the_sweep_from_no_turn(self) -> None:
        long_ago = timezone.now() - timedelta(hours=1)
        Lane.objects.bulk_create(Lane(kind=LaneKind.HONCHO, key=f"k{n}", wake_at=long_ago) for n in range(30))
        pipeline.accept("hello")
        with self.settings(SWEEP_BATCH=10), mock.patch.object(doorbell, "ring") as ring:
            doorbell.sweep()
        self.assertEqual([context.session_key for context in ring.call_args.args[0]], [pipeline.context().session_key])
        self.assertEqual(len(list(doorbell.ring_honcho.call_args.args[0])), doorbell.HONCHO_RUNG)


class UnknownOutcomeTests(SendingCase):
    """Those that end in `nothing_twice` were seen to fail with the look-up taken out of sending._settle()."""

    def test_a_connection_that_breaks_after_the_commit_stores_nothing_twice(self) -> None:
        self.honcho.fault("drop", operation="create_messages", times=1)
        self.say("hello", "again")
        self.write()
        self.assertEqual(self.states(), ["waiting"] * 4)
        self.settle()
        self.write()
        self.assertEqual(len(self.posts()), 1)
        self.assertEqual(self.states(), ["sent"] * 4)
        self.assertTrue(all(HonchoWrite.objects.values_list("message_id", flat=True)))
        self.assert_stored_once()

    def test_a_connection_that_breaks_before_the_commit_loses_nothing(self) -> None:
        self.honcho.fault("refuse", operation="create_messages", times=1)
        self.say("hello")
        self.write()
        self.settle()
        self.write()
        self.assertEqual(len(self.posts()), 2)
        self.assert_stored_once()

    def test_an_answer_that_comes_too_late_stores_nothing_twice(self) -> None:
        with configured(honcho={"write_timeout_seconds": 0.2}):
            self.honcho.fault("late", operation="create_messages", times=1, seconds=1)
            self.say("hello")
            self.write()
            self.settle()
            self.write()
        self.assertEqual(len(self.posts()), 1)
        self.assert_stored_once()

    def test_what_a_request_may_yet_store_is_not_sent_again_until_that_is_over(self) -> None:
        self.honcho.fault("error", operation="create_messages", times=1, status=503)
        with configured(honcho={"write_settle_seconds": 60}):
            self.say("hello")
            self.write()
            self.write()
            waits = HonchoWrite.objects.earliest("seq").next_attempt_at - timezone.now()
            self.assertGreater(waits, timedelta(seconds=55))
            self.assertGreater(Lane.objects.get(kind=LaneKind.HONCHO).wake_at - timezone.now(), timedelta(seconds=55))
            self.assertEqual(len(self.posts()), 1)
        self.settle()
        self.write()
        self.assert_stored_once()

    def test_what_was_said_meanwhile_waits_behind_what_is_in_doubt(self) -> None:
        self.honcho.fault("drop", operation="create_messages", times=1)
        self.say("one")
        self.write()
        self.say("two")
        self.write()
        self.settle()
        self.write()
        self.assert_stored_once()

    def test_a_worker_that_died_before_it_sent_loses_nothing(self) -> None:
        self.say("hello")
        writes.claim_and_take(key=self.key())
        expire_leases()
        self.settle()
        self.write()
        self.assert_stored_once()

    def test_a_worker_that_died_before_it_heard_stores_nothing_twice(self) -> None:
        self.say("hello")
        claim, batch = writes.claim_and_take(key=self.key())
        assert claim and batch
        place = posting.place_of(batch, generation=1)
        posting.join(place, batch.peers)
        posting.post(place, batch, is_ours=lambda: True)
        expire_leases()
        self.write()
        self.assertEqual(self.states(), ["waiting"] * 2)
        self.settle()
        self.write()
        self.assertEqual(self.states(), ["sent"] * 2)
        self.assert_stored_once()

    def test_a_worker_that_lost_its_lane_records_nothing(self) -> None:
        self.say("hello")
        claim, batch = writes.claim_and_take(key=self.key())
        assert claim and batch
        expire_leases()
        with transaction.atomic():
            lanes.claim(kind=LaneKind.HONCHO, key=self.key())
        with self.assertRaises(lanes.LaneLost):
            writes.record_sent(claim, batch, ids={row.pk: "x" for row in batch.rows})
        self.assertEqual(self.states(), ["waiting"] * 2)

    def test_a_worker_whose_lease_is_over_does_not_send(self) -> None:
        self.say("hello")
        claim, batch = writes.claim_and_take(key=self.key())
        assert claim and batch
        with self.assertRaises(lanes.LaneLost):
            posting.post(posting.place_of(batch, generation=1), batch, is_ours=lambda: False)
        self.assertEqual(self.posts(), [])

    def test_what_has_become_too_late_to_be_sent_is_not(self) -> None:
        self.say("hello")
        real = posting.join

        def slow(*args: Any) -> None:
            real(*args)
            time.sleep(0.3)

        with configured(honcho={"write_timeout_seconds": 0.2}), mock.patch.object(posting, "join", slow):
            self.write()
        self.assertEqual(self.posts(), [])
        self.assertFalse(HonchoWrite.objects.exclude(attempted_at=None).exists())


class RefusalTests(SendingCase):
    def test_a_message_that_honcho_rejects_is_set_aside_and_the_rest_goes_on(self) -> None:
        self.say(*(str(number) for number in range(8)))
        bad = HonchoWrite.objects.order_by("seq")[5]
        HonchoWrite.objects.filter(pk=bad.pk).update(content="x" * 25_001)
        with self.assertLogs("honcho_app", "WARNING") as logs:
            self.write()
        bad.refresh_from_db()
        self.assertEqual((bad.state, bad.error), ("dead", "Honcho rejected the request (HTTP 422)."))
        self.assertNotIn("xxx", "".join(logs.output))
        self.assertEqual(HonchoWrite.objects.filter(state="sent").count(), 15)
        told = self.transcript()
        self.assertEqual(self.stored(), [*told[:5], *told[6:]])
        self.assertLess(len(self.posts()), 16)

    def test_a_session_that_was_deleted_goes_on_as_the_next_one_of_its_key(self) -> None:
        self.say("before")
        self.write()
        self.honcho.worker_is_paused = True
        posting._session(posting.Place("hermes", names.session_name(self.key()))).delete()
        self.say("after")
        with self.assertLogs("honcho_app", "WARNING"):
            self.write()
        self.assertEqual(self.stored(generation=2), ["after", "echo: after"])
        self.assertEqual(generations.generation(self.key()), 2)
        self.say("and more")
        self.write()
        self.assertEqual(len(self.stored(generation=2)), 4)

    def test_a_wrong_address_uses_up_no_generation(self) -> None:
        self.honcho.fault("error", status=404)
        self.say("hello")
        self.write()
        self.assertEqual(generations.generation(self.key()), 1)
        self.assertEqual(self.states(), ["waiting"] * 2)
        self.honcho.clear_faults()
        self.write_until_drained()
        self.assert_stored_once()

    def test_a_key_that_is_refused_gives_nothing_up(self) -> None:
        self.honcho.fault("error", status=401)
        self.say("hello")
        self.write()
        self.assertEqual(self.states(), ["waiting"] * 2)
        self.assertEqual({row.error for row in HonchoWrite.objects.all()}, {"Honcho refused the key (HTTP 401)."})
        self.honcho.clear_faults()
        self.write_until_drained()
        self.assert_stored_once()

    def test_a_servers_wish_to_wait_is_obeyed_within_bounds(self) -> None:
        self.honcho.fault("error", operation="create_messages", times=1, status=429, retry_after=3600)
        with configured(honcho={"retry_after_max_seconds": 40}):
            self.say("hello")
            self.write()
        wait = (HonchoWrite.objects.earliest("seq").next_attempt_at - timezone.now()).total_seconds()
        self.assertTrue(30 < wait <= 40, wait)
        self.assertTrue(pause.is_on)

    def test_while_the_server_is_away_no_lane_is_tried_but_the_first(self) -> None:
        for user in ("ann", "bob", "cy"):
            self.say("hello", user=user)
        self.honcho.stop()
        with configured(honcho={"write_backoff_seconds": 30, "write_backoff_max_seconds": 30}):
            for user in ("ann", "bob", "cy"):
                self.write(user)
        self.assertEqual(HonchoWrite.objects.filter(attempts=1).count(), 2)
        self.assertFalse(HonchoWrite.objects.exclude(attempted_at=None).exists())
        self.honcho.start()
        for user in ("ann", "bob", "cy"):
            self.write_until_drained(user)
            self.assert_stored_once(user)

    def test_members_that_honcho_rejects_keep_no_message_back(self) -> None:
        self.honcho.fault("error", operation="get_or_create_session", status=400)
        self.say("hello")
        with self.assertLogs("honcho_app", "WARNING"):
            self.write()
        self.assert_stored_once()


class PauseTests(SendingCase):
    def test_each_failure_in_a_row_makes_it_longer_up_to_its_bound(self) -> None:
        mine = Pause()
        with configured(honcho={"write_backoff_seconds": 1, "write_backoff_max_seconds": 8}):
            waits = []
            for _ in range(6):
                mine._until = 0.0
                waits.append(mine.begin())
        for wait, most in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
            self.assertTrue(most / 2 <= wait <= most, waits)

    def test_failures_of_one_moment_count_once_and_an_answer_ends_it(self) -> None:
        mine = Pause()
        with configured(honcho={"write_backoff_seconds": 1, "write_backoff_max_seconds": 60}):
            self.assertLessEqual(max(mine.begin() for _ in range(5)), 1)
            self.assertTrue(mine.is_on)
            mine.end()
            self.assertFalse(mine.is_on)


class RetentionTests(SendingCase):
    def test_what_was_written_long_ago_is_removed_and_nothing_else(self) -> None:
        self.say("one", "two")
        self.write()
        self.say("three")
        old = timezone.now() - timedelta(days=8)
        HonchoWrite.objects.filter(content="one").update(finished_at=old)
        HonchoWrite.objects.filter(content="two").update(finished_at=old, state="dead")
        HonchoWrite.objects.filter(state="waiting").update(created_at=old, said_at=old)
        self.assertEqual((writes.forget_sent(), writes.forget_sent()), (1, 0))
        self.assertEqual(HonchoWrite.objects.filter(content="one").count(), 0)
        self.assertEqual(HonchoWrite.objects.count(), 5)


class SlotTests(SendingCase):
    def test_a_ring_that_finds_all_places_taken_is_left_to_those_who_have_them(self) -> None:
        self.say("hello")

        async def ring() -> None:
            places = sending._slots()
            for _ in range(places._value):
                await places.acquire()
            await sending.write_lane(key=self.key())

        pipeline.run(ring())
        self.assertEqual(self.posts(), [])
