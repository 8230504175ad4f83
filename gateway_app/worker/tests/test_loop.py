"""The process's event loop, and coroutine tasks called without a worker."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextvars import ContextVar
from typing import Any

import aiohttp
import uvloop
from celery import Celery, current_task
from celery.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from gateway_app.worker.coroutine_task import CoroutineTask
from gateway_app.worker.http import close_http_session, http_session
from gateway_app.worker.loop import EventLoop, event_loop

flavour: ContextVar[str] = ContextVar("flavour", default="plain")


class EventLoopTests(SimpleTestCase):
    def setUp(self) -> None:
        self.loop = EventLoop()
        self.addCleanup(self.loop.stop)

    def test_it_starts_at_the_first_use_and_stays(self) -> None:
        async def where() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
            return asyncio.get_running_loop(), threading.current_thread()

        loop, thread = self.loop.run(where())
        self.assertEqual((loop, thread), self.loop.run(where()))
        self.assertIsInstance(loop, uvloop.Loop)
        self.assertIsNot(thread, threading.current_thread())

    def test_an_exception_of_the_coroutine_is_the_callers(self) -> None:
        async def fail() -> None:
            raise LookupError("here")

        with self.assertRaisesMessage(LookupError, "here"):
            self.loop.run(fail())

    def test_the_coroutine_sees_the_callers_context_and_does_not_change_it(self) -> None:
        async def taste() -> str:
            found = flavour.get()
            flavour.set("bitter")
            return found

        token = flavour.set("sweet")
        self.addCleanup(flavour.reset, token)
        self.assertEqual(self.loop.run(taste()), "sweet")
        self.assertEqual(flavour.get(), "sweet")

    def test_cancelling_a_submitted_coroutine_runs_its_finally_block(self) -> None:
        started, ended = threading.Event(), threading.Event()

        async def wait() -> None:
            started.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        future = self.loop.submit(wait())
        self.assertTrue(started.wait(10))
        future.cancel()
        self.assertTrue(ended.wait(10))

    def test_waiting_on_the_loops_own_thread_is_an_error_instead_of_a_deadlock(self) -> None:
        async def outer() -> None:
            self.loop.run(asyncio.sleep(0))

        with self.assertRaisesMessage(RuntimeError, "await it there"):
            self.loop.run(outer())

    def test_stopping_cancels_what_runs_and_closes_what_lives_on_it(self) -> None:
        seen: list[str] = []

        async def forever() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                seen.append("cancelled")

        async def close() -> None:
            seen.append("closed")

        self.loop.at_stop.append(close)
        loop = self.loop.start()
        self.loop.submit(forever())
        self.loop.stop()
        self.assertEqual(seen, ["cancelled", "closed"])
        self.assertTrue(loop.is_closed())
        self.assertEqual(self.loop.run(asyncio.sleep(0, "anew")), "anew")

    def test_a_forked_child_has_a_loop_of_its_own(self) -> None:
        self.loop.run(asyncio.sleep(0))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if self.loop.run(asyncio.sleep(0, "child")) == "child" else 2
            finally:
                os._exit(code)
        deadline = time.monotonic() + 10
        while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        if done == (0, 0):
            os.kill(child, 9)
            os.waitpid(child, 0)
        self.assertEqual(done, (child, 0))


class TaskWithoutWorkerTests(SimpleTestCase):
    """`task_always_eager`, `apply()` and plain calls, as in tests and on the command line."""

    def setUp(self) -> None:
        self.app = Celery("eager", set_as_current=False, fixups=[])
        self.addCleanup(self.app.close)
        self.addCleanup(event_loop.stop)

    def test_an_eager_call_runs_the_coroutine_and_returns_its_result(self) -> None:
        @self.app.task(shared=False, base=CoroutineTask, bind=True)
        async def double(task: Any, number: int) -> list[Any]:
            await asyncio.sleep(0)
            return [number * 2, task.request.id, current_task.request.is_eager]

        self.app.conf.task_always_eager = True
        result = double.delay(4)
        self.assertEqual(result.get(), [8, result.id, True])

    def test_an_eager_retry_runs_the_coroutine_again(self) -> None:
        @self.app.task(shared=False, base=CoroutineTask, bind=True)
        async def third(task: Any) -> int:
            if task.request.retries < 2:
                raise task.retry(countdown=0)
            return int(task.request.retries)

        self.assertEqual(third.apply().get(), 2)

    def test_a_plain_call_waits_for_the_result(self) -> None:
        @self.app.task(shared=False, base=CoroutineTask)
        async def double(number: int) -> int:
            await asyncio.sleep(0)
            return number * 2

        self.assertEqual(double(4), 8)

    def test_a_function_that_is_not_a_coroutine_is_refused(self) -> None:
        with self.assertRaisesMessage(ImproperlyConfigured, "must be `async def`"):

            @self.app.task(shared=False, base=CoroutineTask, lazy=False)
            def plain() -> None: ...

    def test_an_option_that_would_do_nothing_is_refused(self) -> None:
        with self.assertRaisesMessage(ImproperlyConfigured, "autoretry_for"):

            @self.app.task(shared=False, base=CoroutineTask, lazy=False, autoretry_for=(OSError,))
            async def retried() -> None: ...


class HttpSessionTests(SimpleTestCase):
    def test_a_loop_has_one_session_with_no_limit_of_connections(self) -> None:
        async def sessions() -> tuple[aiohttp.ClientSession, aiohttp.ClientSession]:
            found = http_session(), http_session()
            self.assertEqual(found[0].connector.limit, 0)
            await close_http_session()
            return found

        first, second = asyncio.run(sessions())
        self.assertIs(first, second)
        self.assertTrue(first.closed)
        self.assertIsNot(asyncio.run(sessions())[0], first)

    def test_the_session_is_closed_when_the_workers_loop_stops(self) -> None:
        async def session() -> aiohttp.ClientSession:
            return http_session()

        found = event_loop.run(session())
        event_loop.stop()
        self.assertTrue(found.closed)

    def test_outside_a_coroutine_it_is_an_error(self) -> None:
        with self.assertRaisesMessage(RuntimeError, "no running event loop"):
            http_session()
