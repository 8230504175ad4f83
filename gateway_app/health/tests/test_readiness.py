"""/healthz and /readyz: what they say when all is well, and when the broker, the database or a worker is not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

from django.db import connections
from django.test import AsyncClient, SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from gateway_app import backlog
from gateway_app.backlog import Backlog, Box, Lanes, ListenerState
from gateway_app.health import checks, record_canary, views
from gateway_app.models import Heartbeat, Lane, Listener
from gateway_app.models.lane import LaneKind
from gateway_app.platforms import registry
from gateway_app.platforms.cli.adapter import Adapter as SilentPlatform
from tests.factories import make_inbound, make_lane, make_outbound
from tests.services import ValkeyServer

IDLE = Box(waiting=0, running=0, dead=0, oldest_seconds=None)
WELL = Backlog(
    read_at=datetime(2026, 1, 1, tzinfo=UTC),
    inbox=IDLE,
    outbox=IDLE,
    turns=Lanes(kind=LaneKind.TURNS, held=0, due=0, overdue_seconds=None),
    delivery=Lanes(kind=LaneKind.DELIVERY, held=0, due=0, overdue_seconds=None),
    listeners=[],
    canary_seconds=3.0,
)
POLLED = ListenerState(platform="polled", account="bot", is_held=True, poll_seconds=5.0, error="")


class PolledPlatform(SilentPlatform):
    name = "polled"

    def accounts(self) -> list[str]:
        return ["bot"]

    async def listen(self, **values: object) -> None:
        pass


def only(platform: SilentPlatform) -> mock._patch_dict:
    """Makes `platform` the only one that is shipped."""
    return mock.patch.multiple(registry, names=lambda: (platform.name,), get=lambda name: platform)


@contextmanager
def broker_at(port: int) -> Iterator[None]:
    with mock.patch.dict(os.environ, CELERY_BROKER_WRITE_URL=f"redis://:secret@127.0.0.1:{port}/0"):
        yield


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def database_out_of_reach() -> Iterator[None]:
    """New connections fail; the test's own stays open."""
    nowhere = {"HOST": "127.0.0.1", "PORT": "1", "OPTIONS": {}, "PASSWORD": "secret"}
    if connections["default"].vendor == "sqlite":
        nowhere = {"NAME": "/nonexistent/secret/db.sqlite3"}
    with mock.patch.dict(connections.settings["default"], nowhere):
        yield


def failing(state: Backlog) -> list[str]:
    return [check.name for check in checks.judge(state) if not check.ok]


@override_settings(READY_MAX_AGE_SECONDS=60)
class JudgementTests(SimpleTestCase):
    def test_an_idle_gateway_with_a_fresh_canary_is_ready(self) -> None:
        self.assertEqual(failing(WELL), [])

    def test_a_canary_that_is_late_or_never_came_is_not_ready(self) -> None:
        self.assertEqual(failing(replace(WELL, canary_seconds=61.0)), ["canary"])
        self.assertEqual(failing(replace(WELL, canary_seconds=None)), ["canary"])

    def test_work_that_no_worker_takes_is_not_ready(self) -> None:
        self.assertEqual(failing(replace(WELL, turns=replace(WELL.turns, due=1, overdue_seconds=61.0))), ["inbox"])
        self.assertEqual(failing(replace(WELL, delivery=replace(WELL.delivery, overdue_seconds=61.0))), ["outbox"])

    def test_a_message_that_waits_behind_a_long_turn_is_no_fault(self) -> None:
        state = replace(WELL, inbox=replace(IDLE, waiting=1, oldest_seconds=500.0))
        check = next(check for check in checks.judge(state) if check.name == "inbox")
        self.assertTrue(check.ok)
        self.assertEqual(check.age, 500.0)
        self.assertIn("1 waiting, the oldest for 8 min 20 s", check.detail)

    def test_a_credential_that_is_not_polled_is_not_ready(self) -> None:
        with only(PolledPlatform()):
            self.assertEqual(failing(WELL), ["listeners"])
            self.assertEqual(failing(replace(WELL, listeners=[POLLED])), [])
            self.assertEqual(failing(replace(WELL, listeners=[replace(POLLED, poll_seconds=61.0)])), ["listeners"])
            self.assertEqual(failing(replace(WELL, listeners=[replace(POLLED, poll_seconds=None)])), ["listeners"])

    def test_the_row_of_a_credential_that_is_gone_does_not_count(self) -> None:
        gone = replace(POLLED, account="old-bot", poll_seconds=10_000.0)
        with only(PolledPlatform()):
            self.assertEqual(failing(replace(WELL, listeners=[POLLED, gone])), [])


class BacklogTests(TestCase):
    def test_nothing_at_all_reads_as_nothing(self) -> None:
        state = backlog.read()
        self.assertEqual((state.inbox, state.outbox), (IDLE, IDLE))
        self.assertEqual((state.turns.held, state.turns.due, state.turns.overdue_seconds), (0, 0, None))
        self.assertIsNone(state.canary_seconds)

    def test_rows_are_counted_by_what_they_wait_for(self) -> None:
        for state in ("waiting", "waiting", "running", "dead", "done", "discarded"):
            make_inbound(state=state)
        Lane.objects.update(wake_at=timezone.now())
        for state in ("waiting", "sending", "dead", "dead", "sent"):
            make_outbound(state=state)
        Lane.objects.filter(kind=LaneKind.DELIVERY).update(wake_at=timezone.now())
        state = backlog.read()
        self.assertEqual((state.inbox.waiting, state.inbox.running, state.inbox.dead), (2, 1, 1))
        self.assertEqual((state.outbox.waiting, state.outbox.running, state.outbox.dead), (1, 1, 2))

    def test_the_oldest_waiting_row_gives_the_age(self) -> None:
        make_inbound(accepted_at=timezone.now() - timedelta(seconds=90))
        make_inbound(accepted_at=timezone.now() - timedelta(seconds=10))
        make_inbound(accepted_at=timezone.now() - timedelta(seconds=900), state="done")
        age = backlog.read().inbox.oldest_seconds
        assert age
        self.assertAlmostEqual(age, 90, delta=5)

    def test_parts_that_their_reader_fetches_are_not_waiting_for_us(self) -> None:
        row = make_outbound()
        Lane.objects.filter(pk=row.lane_id).update(wake_at=None)
        self.assertEqual(backlog.read().outbox, IDLE)

    def test_lanes_are_held_due_or_not_yet_due(self) -> None:
        now = timezone.now()
        past, future = now - timedelta(seconds=30), now + timedelta(seconds=30)
        make_lane(wake_at=past, lease_until=future)  # held
        make_lane(wake_at=past)  # due
        make_lane(wake_at=past - timedelta(seconds=60), lease_until=past)  # due, its worker died
        make_lane(wake_at=future)  # later
        make_lane()  # idle
        make_lane(kind=LaneKind.DELIVERY, wake_at=past)
        state = backlog.read()
        self.assertEqual((state.turns.held, state.turns.due), (1, 2))
        self.assertEqual((state.delivery.held, state.delivery.due), (0, 1))
        assert state.turns.overdue_seconds
        self.assertAlmostEqual(state.turns.overdue_seconds, 90, delta=5)

    def test_a_count_stops_at_its_cap(self) -> None:
        for _ in range(3):
            make_inbound()
        with mock.patch.object(backlog, "COUNT_CAP", 2):
            self.assertEqual(backlog.read().inbox.waiting, 2)

    def test_the_canary_is_recorded_once_by_the_databases_clock(self) -> None:
        record_canary()
        Heartbeat.objects.update(beat_at=timezone.now() - timedelta(seconds=100))
        record_canary()
        age = backlog.read().canary_seconds
        assert age is not None
        self.assertLess(age, 10)
        self.assertEqual(Heartbeat.objects.count(), 1)

    def test_the_reads_do_not_grow_with_the_rows(self) -> None:
        with self.assertNumQueries(12):
            backlog.read()
        for _ in range(5):
            make_inbound()
            make_outbound()
            Listener.objects.create(platform="telegram", account=str(Listener.objects.count()))
        with self.assertNumQueries(12):
            backlog.read()


class HealthzTests(SimpleTestCase):
    """A SimpleTestCase fails at any use of the database."""

    def test_the_process_answers_without_database_and_broker(self) -> None:
        response = self.client.get("/healthz")
        self.assertEqual((response.status_code, response.json()), (200, {"ok": True}))
        self.assertIn("no-store", response["Cache-Control"])

    async def test_it_answers_under_asgi(self) -> None:
        response = await AsyncClient().get("/healthz")
        self.assertEqual(response.status_code, 200)

    def test_only_reading_is_allowed(self) -> None:
        for path in ("/healthz", "/readyz", "/metrics"):
            with self.assertLogs("django.request", "WARNING"):
                self.assertEqual(self.client.post(path).status_code, 405)


class ReadyzTests(TransactionTestCase):
    def setUp(self) -> None:
        self.enterContext(only(SilentPlatform()))
        self.enterContext(mock.patch.object(views, "log"))
        self.enterContext(mock.patch.object(views, "_failing", []))
        record_canary()

    def assert_failing(self, *names: str) -> dict[str, object]:
        response = self.client.get("/readyz")
        data = response.json()
        self.assertEqual([name for name, check in data["checks"].items() if not check["ok"]], list(names))
        self.assertEqual(data["ok"], not names)
        self.assertEqual(response.status_code, 503 if names else 200)
        self.assertNotIn("secret", response.content.decode())
        self.assertNotIn("Traceback", response.content.decode())
        return dict(data)

    def test_it_is_ready_when_all_checks_pass(self) -> None:
        with (
            ValkeyServer() as broker,
            broker_at(broker.port),
            mock.patch.dict(os.environ, CELERY_BROKER_WRITE_URL=broker.url),
        ):
            data = self.assert_failing()
        self.assertEqual(set(data["checks"]), {"database", "broker", "canary", "inbox", "outbox", "listeners"})

    def test_a_broker_that_refuses_connections_fails_its_check_alone(self) -> None:
        with broker_at(1):
            self.assert_failing("broker")

    @override_settings(CHECK_SECONDS=0.3)
    def test_a_broker_that_hangs_fails_in_time_and_holds_one_thread(self) -> None:
        with silent_server() as port, broker_at(port):
            for _ in range(3):
                data = self.assert_failing("broker")
            self.assertIn("no answer for", data["checks"]["broker"]["detail"])
            hanging = [thread for thread in threading.enumerate() if thread.name == "probe-broker"]
            self.assertEqual(len(hanging), 1)
        hanging[0].join(20)

    def test_a_database_out_of_reach_fails_all_that_needs_it(self) -> None:
        with ValkeyServer() as broker, mock.patch.dict(os.environ, CELERY_BROKER_WRITE_URL=broker.url):
            with database_out_of_reach():
                data = self.assert_failing("database", "canary", "inbox", "outbox", "listeners")
            self.assertEqual(data["checks"]["database"]["detail"], "OperationalError")
            self.assert_failing()

    def test_the_log_tells_a_change_once(self) -> None:
        with broker_at(1), mock.patch.object(views, "log") as log:
            for _ in range(3):
                self.client.get("/readyz")
        log.error.assert_called_once()

    def test_what_platforms_said_is_for_operators_only(self) -> None:
        Listener.objects.create(platform="telegram", account="12345", error="401 Unauthorized")
        with broker_at(1):
            self.assertIn("401", self.client.get("/readyz").content.decode())
            for headers in ({"REMOTE_ADDR": "192.0.2.1"}, {"HTTP_X_FORWARDED_FOR": "192.0.2.1"}):
                content = self.client.get("/readyz", **headers).content.decode()
                self.assertNotIn("401", content)
                self.assertNotIn("12345", content)
                self.assertIn('"listeners": {"ok": true', content)
