"""The same coroutine tasks under our pool and under Celery's own: what a task's author may rely on everywhere."""

from __future__ import annotations

from typing import ClassVar

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery.result import AsyncResult
from django.test import SimpleTestCase

from gateway_app.worker.tests.process import Worker, eventually
from tests.services import ValkeyServer


class TaskContract:
    """Mixed into one test case for each pool, with one worker for all of its tests."""

    pool: ClassVar[str]
    concurrency = 4
    worker: Worker

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()  # type: ignore[misc]
        broker = ValkeyServer()
        cls.addClassCleanup(broker.stop)  # type: ignore[attr-defined]
        broker.start()
        cls.worker = Worker(broker.url, pool=cls.pool, concurrency=cls.concurrency)
        cls.addClassCleanup(cls.worker.close)  # type: ignore[attr-defined]
        cls.worker.wait_until_ready()

    def wait(self: SimpleTestCase, result: AsyncResult) -> str:
        eventually(result.ready, what=f"the result, not {result.state}\n{self.worker.output()}")
        return result.state

    def test_a_result_comes_back(self) -> None:
        self.assertEqual(self.worker.send("add", 2, 3).get(timeout=10), 5)

    def test_signals_are_sent_in_order(self) -> None:
        result = self.worker.send("add", 2, 3)
        self.wait(result)
        self.worker.wait_for_signal(result, "postrun")
        self.assertEqual(self.worker.signals(result), ["prerun", "success", "postrun"])

    def test_an_exception_is_the_result_and_is_signalled(self) -> None:
        result = self.worker.send("fail", "the reason")
        with self.assertRaisesMessage(ValueError, "the reason"):
            result.get(timeout=10)
        self.assertIn("raise ValueError(message)", result.traceback)
        self.worker.wait_for_signal(result, "postrun")
        self.assertEqual(self.worker.signals(result), ["prerun", "failure", "postrun"])

    def test_the_handlers_of_the_task_class_run_around_the_body(self) -> None:
        for fails, expected in (
            (False, ["before_start", "body", "on_success", "after_return SUCCESS"]),
            (True, ["before_start", "body", "on_failure", "after_return FAILURE"]),
        ):
            result = self.worker.send("hooked", fails=fails)
            eventually(lambda result=result: len(self.worker.recorded(f"hooks {result.id}")) == 4, what="hooks")
            self.assertEqual(self.worker.recorded(f"hooks {result.id}"), expected)

    def test_a_retry_runs_the_task_again(self) -> None:
        result = self.worker.send("succeed_at_third", times=2)
        self.assertEqual(result.get(timeout=10), 2)
        eventually(lambda: self.worker.signals(result).count("postrun") == 3, what="three runs")
        self.assertEqual(self.worker.signals(result).count("retry"), 2)

    def test_too_many_retries_end_in_the_original_error(self) -> None:
        with self.assertRaisesMessage(ValueError, "not yet"):
            self.worker.send("succeed_at_third", times=9).get(timeout=10)

    def test_an_ignored_task_leaves_no_result_and_is_acknowledged(self) -> None:
        result = self.worker.send("ignored")
        self.worker.wait_for_signal(result, "postrun")
        eventually(lambda: not self.worker.unacknowledged(), what="the acknowledgement")
        self.assertEqual(result.state, "PENDING")
        self.assertEqual(self.worker.waiting(), 0)

    def test_a_rejected_task_fails_without_another_run(self) -> None:
        result = self.worker.send("rejected", requeue=False)
        self.assertEqual(self.wait(result), "FAILURE")
        eventually(lambda: not self.worker.unacknowledged(), what="the rejection")
        self.assertEqual(self.worker.waiting(), 0)

    def test_a_rejected_task_that_is_to_be_requeued_is_delivered_again(self) -> None:
        self.assertEqual(self.worker.send("rejected", requeue=True).get(timeout=10), "redelivered")

    def test_each_task_sees_its_own_request_among_many(self) -> None:
        many = 100 if self.pool == "custom" else 12
        results = {number: self.worker.send("know_yourself", number, pause=0.02) for number in range(many)}
        for number, result in results.items():
            seen, thread = result.get(timeout=20)
            self.assertEqual(seen, [[result.id, number, result.id]] * 6)
            self.assertEqual(thread, "event-loop")

    def test_a_task_published_by_a_task_knows_its_parent(self) -> None:
        result = self.worker.send("start_child")
        child = result.get(timeout=10)
        self.assertEqual(self.worker.wait_for(f"parent of {child}"), [result.id])

    def test_a_callback_gets_the_result(self) -> None:
        client = self.worker.client
        add = "gateway_app.worker.tests.app.add"
        result = client.signature(add, (1, 2), link=client.signature(add, (10,))).apply_async()
        self.assertEqual(result.get(timeout=10), 3)
        (called,) = eventually(lambda: result.children, what="the callback")
        self.assertEqual(called.get(timeout=10), 13)

    def test_a_chain_goes_on(self) -> None:
        client = self.worker.client
        add = "gateway_app.worker.tests.app.add"
        chain = client.signature(add, (1, 2)) | client.signature(add, (10,)) | client.signature(add, (100,))
        self.assertEqual(chain.apply_async().get(timeout=10), 113)

    def test_ordinary_tasks_run_as_well(self) -> None:
        result = self.worker.send("in_a_thread")
        self.assertEqual(result.get(timeout=10)[0], result.id)

    def test_all_tasks_share_one_http_session_without_a_connection_limit(self) -> None:
        first, second = (self.worker.send("session_of_loop").get(timeout=10) for _ in range(2))
        self.assertEqual(first, second)
        self.assertEqual(first[1], 0)

    def test_inspection_answers(self) -> None:
        (stats,) = self.worker.client.control.inspect(timeout=5, limit=1).stats().values()
        self.assertEqual(stats["pool"]["max-concurrency"], self.concurrency)


class LimitsContract(TaskContract):
    """Time limits; Celery's prefork pool sees to them itself, by signals."""

    def test_the_soft_limit_ends_the_task_and_its_finally_block_runs(self) -> None:
        result = self.worker.send("soft_limited")
        with self.assertRaises(SoftTimeLimitExceeded):
            result.get(timeout=10)
        self.assertTrue(self.worker.wait_for(f"finally {result.id}"))
        self.worker.wait_for_signal(result, "failure")

    def test_a_task_may_end_by_itself_at_the_soft_limit(self) -> None:
        self.assertEqual(self.worker.send("heedful").get(timeout=10), "ended in time")

    def test_the_hard_limit_ends_a_task_that_went_on_after_the_soft_one(self) -> None:
        result = self.worker.send("hard_limited")
        with self.assertRaises(TimeLimitExceeded):
            result.get(timeout=10)
        self.assertEqual(self.worker.recorded(f"soft {result.id}"), [True])
        self.assertTrue(self.worker.wait_for(f"finally {result.id}"))


class CustomPoolTests(LimitsContract, SimpleTestCase):
    pool = "custom"
    concurrency = 50


class ThreadsPoolTests(LimitsContract, SimpleTestCase):
    pool = "threads"


class SoloPoolTests(LimitsContract, SimpleTestCase):
    pool = "solo"
    concurrency = 1


class PreforkPoolTests(TaskContract, SimpleTestCase):
    pool = "prefork"
    concurrency = 1
