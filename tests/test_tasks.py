"""The Celery tasks where the database is away: one clear line each, since the next ring comes anyway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any
from unittest import mock

from django.db import InternalError, OperationalError, ProgrammingError
from django.test import SimpleTestCase

from gateway_app import tasks
from gateway_app.worker.http import close_http_session
from tests import pipeline


class DatabaseOutOfReachTests(SimpleTestCase):
    def run_with(self, error: Exception, task: Coroutine[Any, Any, None]) -> None:
        """Runs a task whose first visit to the database raises `error`."""

        async def fail(*_: Any, **__: Any) -> None:
            raise error

        async def run() -> None:
            try:
                await task
            finally:
                await close_http_session()

        with contextlib.ExitStack() as stack:
            for module in ("tasks", "turns.runner", "delivery.sender"):
                stack.enter_context(mock.patch(f"gateway_app.{module}.in_database", fail))
            asyncio.run(run())

    def test_each_task_says_in_one_line_what_it_could_not_do(self) -> None:
        context = pipeline.context().to_json()
        for what, task in {
            "turn": tasks.run_turn.run(context),
            "delivery": tasks.deliver.run("a:b:c"),
            "sweep": tasks.sweep.run(),
            "canary": tasks.canary.run(),
            "look at sessions that are over": tasks.end_sessions.run(),
            "flush of memory": tasks.flush_memory.run(),
            "look at what is over": tasks.tend_access.run(),
        }.items():
            with self.subTest(what), self.assertLogs("gateway_app.tasks", "ERROR") as logs:
                self.run_with(OperationalError("server closed\n\tthe connection"), task)
            expected = f"No {what}: the database is out of reach (OperationalError: server closed the connection)."
            self.assertEqual([record.getMessage() for record in logs.records], [expected])

    def test_a_database_that_is_read_only_counts_as_out_of_reach(self) -> None:
        with self.assertLogs("gateway_app.tasks", "ERROR"):
            self.run_with(InternalError("cannot execute UPDATE in a read-only transaction"), tasks.sweep.run())

    def test_a_statement_that_is_wrong_is_not_taken_for_an_outage(self) -> None:
        with self.assertRaises(ProgrammingError):
            self.run_with(ProgrammingError("no such table"), tasks.sweep.run())
