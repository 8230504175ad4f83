"""What our pool owes Celery beyond running tasks: slots, revokes, acknowledgements, inspection, shutdown."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import threading
import time
from typing import Any
from unittest import mock

from billiard.exceptions import Terminated
from celery import Celery
from celery.result import AsyncResult
from django.test import SimpleTestCase
from kombu.asynchronous.semaphore import LaxBoundedSemaphore

from gateway_app.worker.coroutine_task import CoroutineTask
from gateway_app.worker.loop import event_loop
from gateway_app.worker.pool import TaskPool
from gateway_app.worker.tests.process import Worker, eventually
from tests.dear import dear
from tests.services import ValkeyServer


class PoolTestCase(SimpleTestCase):
    """A broker for the class; `start()` gives a worker for one test or, from setUpClass, for all."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.broker = ValkeyServer()
        cls.addClassCleanup(cls.broker.stop)
        cls.broker.start()

    @classmethod
    def start(cls, **options: Any) -> Worker:
        worker = Worker(cls.broker.url, **options)
        cls.addClassCleanup(worker.close)
        return worker.wait_until_ready()

    def started(self, worker: Worker, *results: AsyncResult) -> None:
        for result in results:
            worker.wait_for(f"started {result.id}")


class RunningPoolTests(PoolTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.worker = cls.start(concurrency=20)

    def test_coroutines_run_on_the_event_loop_and_other_tasks_in_threads(self) -> None:
        _, thread = self.worker.send("know_yourself", 1, pause=0).get(timeout=10)
        self.assertEqual(thread, "event-loop")
        _, thread = self.worker.send("in_a_thread").get(timeout=10)
        self.assertTrue(thread.startswith("task"), thread)

    def test_celery_takes_note_of_everything_in_the_main_thread(self) -> None:
        results = [self.worker.send("hold_late", 0.05), self.worker.send("hold", 0), self.worker.send("in_a_thread")]
        for result in results:
            result.get(timeout=10)
        eventually(lambda: not self.worker.unacknowledged(), what="the acknowledgements")
        self.assertEqual(set(self.worker.recorded("threads of callbacks")), {"MainThread"})

    def test_a_late_acknowledged_message_stays_with_the_broker_until_its_task_ends(self) -> None:
        late, early = self.worker.send("hold_late", 0.5), self.worker.send("hold", 0.5)
        self.started(self.worker, late, early)
        eventually(lambda: self.worker.unacknowledged() == 1, what="only the late one to be kept")
        late.get(timeout=10)
        eventually(lambda: self.worker.unacknowledged() == 0, what="its acknowledgement")

    def test_a_revoke_with_terminate_cancels_the_coroutine_and_lets_it_clean_up(self) -> None:
        result = self.worker.send("hold", 60)
        self.started(self.worker, result)
        self.worker.client.control.revoke(result.id, terminate=True)
        self.worker.wait_for(f"finally {result.id}")
        eventually(lambda: result.state == "REVOKED", what="the state")
        self.worker.wait_for_signal(result, "revoked")
        self.worker.wait_for_signal(result, "postrun")
        self.assertNotIn("failure", self.worker.signals(result))
        self.assertEqual(self.worker.recorded(f"ended {result.id}"), [])

    def test_a_task_that_ignores_its_hard_limit_gives_its_slot_back(self) -> None:
        result = self.worker.send("stubborn", options={"time_limit": 0.2})
        eventually(result.ready, what="the end by the hard limit")
        self.assertEqual(type(result.result).__name__, "TimeLimitExceeded")
        eventually(lambda: not self.worker.unacknowledged(), what="the acknowledgement")
        self.assertEqual(self.pool()["running"], 0)
        self.assertIn(f"stubborn[{result.id}] still runs", self.worker.output())

    def test_a_task_that_ignores_its_revoke_gives_its_slot_back(self) -> None:
        result = self.worker.send("stubborn")
        self.started(self.worker, result)
        self.worker.client.control.revoke(result.id, terminate=True)
        eventually(lambda: f"stubborn[{result.id}] still runs" in self.worker.output(), what="the complaint")
        eventually(lambda: self.pool()["running"] == 0, what="the slot")
        self.assertEqual(result.state, "REVOKED")

    def test_a_coroutine_that_exits_or_cancels_itself_fails_and_the_worker_goes_on(self) -> None:
        for name in ("exit_process", "cancel_itself"):
            result = self.worker.send(name)
            eventually(result.ready, what=f"the failure of {name}")
            self.assertEqual(result.state, "FAILURE")
            self.worker.wait_for_signal(result, "failure")
        self.assertEqual(self.worker.send("add", 1, 1).get(timeout=10), 2)

    def test_inspection_shows_the_pool_and_what_runs(self) -> None:
        eventually(lambda: self.pool()["running"] == 0, what="an idle pool")
        result = self.worker.send("hold", 1)
        self.started(self.worker, result)
        (active,) = self.worker.client.control.inspect(timeout=5, limit=1).active().values()
        self.assertEqual([request["id"] for request in active], [result.id])
        self.assertEqual(active[0]["worker_pid"], self.worker.process.pid)
        self.assertEqual(
            self.pool(),
            {
                "implementation": "gateway_app.worker.pool:TaskPool",
                "max-concurrency": 20,
                "processes": [self.worker.process.pid],
                "running": 1,
                "threads": 2,
            },
        )

    def pool(self) -> dict[str, Any]:
        (stats,) = self.worker.client.control.inspect(timeout=5, limit=1).stats().values()
        return stats["pool"]


class SlotsTests(PoolTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.worker = cls.start(concurrency=2)

    def test_no_more_tasks_run_at_once_than_there_are_slots(self) -> None:
        results = [self.worker.send("hold", 0.1) for _ in range(8)] + [self.worker.send("in_a_thread", 0.1)]
        for result in results:
            result.get(timeout=10)
        self.assertEqual(self.most_at_once(results[:-1]), 2)

    def test_a_task_revoked_while_it_waits_never_starts(self) -> None:
        for terminate in (False, True):
            running = [self.worker.send("hold", 1) for _ in range(2)]
            self.started(self.worker, *running)
            waiting = self.worker.send("hold_late", 0)
            eventually(lambda: self.worker.unacknowledged() == 1, what="the third message")
            self.worker.client.control.revoke(waiting.id, terminate=terminate, reply=True, timeout=5, limit=1)
            eventually(lambda waiting=waiting: waiting.state == "REVOKED", what="the state")
            for result in running:
                result.get(timeout=10)
            eventually(lambda: self.worker.unacknowledged() == 0, what="the revoked message to be acknowledged")
            self.assertEqual(self.worker.recorded(f"started {waiting.id}"), [])
            self.assertEqual(self.worker.send("add", 1, 2).get(timeout=10), 3)

    def test_the_pool_grows_and_shrinks_on_request_while_tasks_run(self) -> None:
        control = self.worker.client.control
        held = [self.worker.send("hold", 2) for _ in range(2)]
        self.started(self.worker, *held)
        control.pool_grow(1, reply=True, timeout=5, limit=1)
        results = [self.worker.send("hold", 0.1) for _ in range(4)]
        self.started(self.worker, results[0])
        control.pool_shrink(1, reply=True, timeout=5, limit=1)
        (stats,) = control.inspect(timeout=5, limit=1).stats().values()
        self.assertEqual(stats["pool"]["max-concurrency"], 2)
        for result in held + results:
            result.get(timeout=10)
        self.assertEqual(self.most_at_once(held + results), 3)
        self.test_no_more_tasks_run_at_once_than_there_are_slots()

    def most_at_once(self, results: list[AsyncResult]) -> int:
        spans = [
            (self.worker.recorded(f"started {result.id}")[0], self.worker.recorded(f"ended {result.id}")[0])
            for result in results
        ]
        return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


@dear
class ShutdownTests(PoolTestCase):
    def tearDown(self) -> None:
        self.worker.records.flushall()

    def test_a_warm_shutdown_finishes_what_runs_and_leaves_the_rest_to_the_broker(self) -> None:
        self.worker = worker = self.start(concurrency=5)
        running = [worker.send("hold_late", 1), worker.send("hold", 1)]
        running += [worker.send("in_a_thread", 1), worker.send("in_a_thread", 1)]
        self.started(worker, *running)
        waiting_for_thread, waiting_for_slot = worker.send("in_a_thread"), worker.send("hold_late", 0)
        eventually(lambda: worker.unacknowledged() == 3, what="all messages")
        self.assertEqual(worker.end(signal.SIGTERM), 0, worker.output())
        self.assertEqual([result.state for result in running], ["SUCCESS"] * 4)
        self.assertEqual(worker.unacknowledged(), 0)
        self.assertEqual(worker.waiting(), 2)
        for result in (waiting_for_thread, waiting_for_slot):
            self.assertEqual(worker.recorded(f"started {result.id}"), [])
        self.assertEqual(set(worker.recorded("threads of callbacks")), {"MainThread"})

    def test_a_late_task_is_acknowledged_at_its_end_even_while_a_warm_shutdown_waits_for_another(self) -> None:
        self.worker = worker = self.start(concurrency=3)
        short, long = worker.send("hold_late", 0.5), worker.send("hold_late", 60)
        self.started(worker, short, long)
        worker.process.send_signal(signal.SIGTERM)
        eventually(lambda: worker.unacknowledged() == 1, what="the first acknowledgement")
        self.assertIsNone(worker.process.poll())
        worker.process.send_signal(signal.SIGQUIT)
        worker.wait()
        self.assertEqual(worker.waiting(), 1)

    def test_a_cold_shutdown_cancels_what_runs_and_returns_late_messages_to_the_broker(self) -> None:
        self.worker = worker = self.start()
        results = [worker.send("hold_late", 60), worker.send("hold", 60), worker.send("untidy")]
        self.started(worker, *results)
        worker.end(signal.SIGQUIT)
        for result in results:
            self.assertEqual(worker.recorded(f"finally {result.id}"), [True], worker.output())
            self.assertEqual(worker.recorded(f"ended {result.id}"), [])
        self.assertEqual(worker.waiting(), 2)
        self.assertEqual(worker.unacknowledged(), 0)

    def test_a_cold_shutdown_does_not_wait_for_what_cannot_be_cancelled(self) -> None:
        for name in ("stubborn", "blocking"):
            with self.subTest(name):
                self.worker = worker = self.start()
                self.started(worker, worker.send(name))
                started = time.monotonic()
                worker.end(signal.SIGQUIT)
                self.assertLess(time.monotonic() - started, 15, "the task had a minute to go")
                self.assertEqual(worker.waiting(), 1)
                worker.records.flushall()

    def test_a_soft_shutdown_lets_short_tasks_end_and_cancels_long_ones(self) -> None:
        self.worker = worker = self.start(SOFT_SHUTDOWN="1")
        short, long = worker.send("hold_late", 0.3), worker.send("hold_late", 60)
        self.started(worker, short, long)
        worker.end(signal.SIGQUIT)
        self.assertEqual(worker.recorded(f"ended {long.id}"), [])
        self.assertEqual(worker.recorded(f"finally {long.id}"), [True])
        self.assertEqual(short.state, "SUCCESS")
        self.assertEqual(worker.unacknowledged(), 0)
        self.assertEqual(worker.waiting(), 1, "only the cancelled task runs again")


class PoolInThisProcessTests(SimpleTestCase):
    """Moments that cannot be hit from outside a worker."""

    def setUp(self) -> None:
        app = Celery("here", set_as_current=False, fixups=[])
        self.addCleanup(app.close)
        self.addCleanup(event_loop.stop)

        @app.task(base=CoroutineTask, name="sleep", shared=False)
        async def sleep() -> None:
            await asyncio.sleep(60)

        app.finalize()
        self.pool = TaskPool(2, app=app, putlocks=False, semaphore=LaxBoundedSemaphore(2), initargs=(app, "host"))
        self.pool.start()
        self.celery = mock.Mock()
        self.failed = threading.Event()
        self.celery.error_callback.side_effect = lambda _: self.failed.set()

    def apply(self) -> Any:
        names = ("callback", "accept_callback", "error_callback", "timeout_callback")
        callbacks = {name: getattr(self.celery, name) for name in names}
        return self.pool.apply_async(lambda name, _: self.pool.app.tasks[name](), ("sleep", "id"), **callbacks)

    def test_a_message_that_comes_after_the_stop_is_neither_accepted_nor_started(self) -> None:
        self.pool.stop()
        self.assertIsNone(self.apply())
        self.assertEqual(self.celery.mock_calls, [])

    def test_a_task_cancelled_before_its_first_step_ends_like_any_other(self) -> None:
        release = threading.Event()
        event_loop.start().call_soon_threadsafe(release.wait, 10)
        self.apply().terminate(15)
        release.set()
        self.assertTrue(self.failed.wait(10))
        (info,) = self.celery.error_callback.call_args.args
        self.assertEqual(info.type, Terminated)
        self.assertEqual(self.pool.info["running"], 0)

    def test_what_celery_failed_to_accept_holds_up_nothing(self) -> None:
        self.celery.accept_callback.side_effect = ConnectionError
        with self.assertRaises(ConnectionError):
            self.apply()
        self.assertEqual(self.pool.info["running"], 0)
        self.pool.stop()


class HublessTransportTests(PoolTestCase):
    """Brokers that Celery serves without an event loop of its own, in a blocking loop."""

    def test_tasks_run_wait_for_slots_and_end(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        options = {"polling_interval": 0.05, "control_folder": f"{folder.name}/control"}
        options |= dict.fromkeys(("data_folder_in", "data_folder_out"), folder.name)
        worker = self.start(broker="filesystem://", concurrency=2, TRANSPORT_OPTIONS=json.dumps(options))
        results = [worker.send("hold_late", 0.1) for _ in range(4)] + [worker.send("in_a_thread")]
        for result in results:
            result.get(timeout=20)
        self.assertEqual(worker.send("add", 1, 2).get(timeout=20), 3)
        self.assertEqual(worker.end(), 0, worker.output())
