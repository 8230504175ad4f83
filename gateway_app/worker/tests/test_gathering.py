"""Calls that wait for the database share a transaction; each gets what it would have got by itself."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Sequence
from typing import Any

from django.db import OperationalError
from django.test import SimpleTestCase, override_settings

from gateway_app.worker.database import close_database_threads, in_database
from gateway_app.worker.gathering import Shareable

TOGETHER = "together"


class Recorder(Shareable):
    """Remembers how it was called. `refused` are calls that raise, `is_away` the database."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.refused: set[str] = set()
        self.is_away = False

    def __call__(self, name: str) -> str:
        self.calls.append(("alone", [name]))
        return self._answer(name)

    def together(self, calls: Sequence[functools.partial[Any]]) -> list[str]:
        names = [call.args[0] for call in calls]
        self.calls.append((TOGETHER, names))
        return [self._answer(name) for name in names]

    def _answer(self, name: str) -> str:
        if self.is_away:
            raise OperationalError("away")
        if name in self.refused:
            raise LookupError(name)
        return name.upper()


class GatheringTests(SimpleTestCase):
    def setUp(self) -> None:
        close_database_threads()
        self.addCleanup(close_database_threads)
        self.recorder = Recorder()

    async def call_all(self, *names: str, cancelled: str = "") -> list[object]:
        """What came of calls that were made while the thread of the database was busy."""
        busy, free = threading.Event(), threading.Event()

        def hold() -> None:
            busy.set()
            free.wait(10)

        held = asyncio.create_task(in_database(hold))
        await asyncio.to_thread(busy.wait, 10)
        waiting = {name: asyncio.create_task(in_database(self.recorder, name)) for name in names}
        await asyncio.sleep(0)
        if cancelled:
            waiting[cancelled].cancel()
            await asyncio.sleep(0)
        free.set()
        await held
        return await asyncio.gather(*waiting.values(), return_exceptions=True)

    @override_settings(DATABASE_THREADS=1)
    async def test_calls_that_wait_share_a_transaction(self) -> None:
        self.assertEqual(await self.call_all("a", "b", "c"), ["A", "B", "C"])
        self.assertEqual(self.recorder.calls, [(TOGETHER, ["a", "b", "c"])])

    @override_settings(DATABASE_THREADS=1)
    async def test_a_call_that_finds_nobody_waiting_has_its_own(self) -> None:
        self.assertEqual([await in_database(self.recorder, name) for name in ("a", "b")], ["A", "B"])
        self.assertEqual(self.recorder.calls, [("alone", ["a"]), ("alone", ["b"])])

    @override_settings(DATABASE_THREADS=1, DATABASE_BATCH=2)
    async def test_no_more_share_one_than_is_set(self) -> None:
        await self.call_all("a", "b", "c", "d", "e")
        self.assertEqual([names for _, names in self.recorder.calls], [["a", "b"], ["c", "d"], ["e"]])

    @override_settings(DATABASE_THREADS=1)
    async def test_one_that_fails_costs_no_other_its_result(self) -> None:
        self.recorder.refused = {"b"}
        first, failed, last = await self.call_all("a", "b", "c")
        self.assertEqual((first, last), ("A", "C"))
        self.assertIsInstance(failed, LookupError)

    @override_settings(DATABASE_THREADS=1)
    async def test_where_the_database_is_away_each_learns_it_and_it_is_not_asked_again_for_each(self) -> None:
        self.recorder.is_away = True
        found = await self.call_all("a", "b", "c")
        self.assertEqual([type(error) for error in found], [OperationalError] * 3)
        self.assertEqual(self.recorder.calls, [(TOGETHER, ["a", "b", "c"]), ("alone", ["a"])])

    @override_settings(DATABASE_THREADS=1)
    async def test_a_call_that_was_cancelled_while_it_waited_is_not_made(self) -> None:
        found = await self.call_all("a", "b", "c", cancelled="b")
        self.assertEqual(self.recorder.calls, [(TOGETHER, ["a", "c"])])
        self.assertIsInstance(found[1], asyncio.CancelledError)

    @override_settings(DATABASE_THREADS=2, DATABASE_BATCH=3)
    async def test_of_many_at_once_each_is_called_once_and_gets_its_own_result(self) -> None:
        names = [f"call-{number}" for number in range(200)]
        found = await asyncio.gather(*(in_database(self.recorder, name) for name in names))
        self.assertEqual(found, [name.upper() for name in names])
        called = [name for _, several in self.recorder.calls for name in several]
        self.assertEqual(sorted(called), sorted(names))
        self.assertTrue(all(len(several) <= 3 for _, several in self.recorder.calls))
