"""Sees to it that the turns of this process stop when they are asked to.

One statement asks for all turns of all workers, from an index that is empty nearly always. So it costs the same
whatever number of turns a process runs, needs nothing but the database, and cannot be missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from django.db import Error as DatabaseError

from gateway_app.models.turn import StopReason
from gateway_app.worker.database import in_database

from . import stopping
from .opening import OpenTurn

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.4
"""Between two looks: with the look itself and the end of the turn a stop takes less than a second."""


class StopWatch:
    """Looks while turns run. One instance per process."""

    def __init__(self) -> None:
        self._watched: dict[int, tuple[OpenTurn, asyncio.Timeout]] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def watching(self, turn: OpenTurn, limit: asyncio.Timeout) -> Iterator[None]:
        """Within the block the turn is stopped when it was asked to: `turn.stop` says why, and `limit` ends at once."""
        mine = self._watched[turn.turn_id] = turn, limit
        self._start()
        try:
            yield
        finally:
            # A process that lost the turn's lane may have claimed it again while its first run of it was still ending.
            if self._watched.get(turn.turn_id) is mine:
                del self._watched[turn.turn_id]

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._looking is None or self._looking.done() or self._looking.get_loop() is not loop:
            self._looking = loop.create_task(self._look(), name="stop watch")

    async def _look(self) -> None:
        while self._watched:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._watched:
                return
            try:
                asked = await in_database(stopping.asked)
            except DatabaseError as error:
                log.warning("Could not look for turns that are to stop (%s); trying again.", type(error).__name__)
                continue
            for turn_id, reason in asked.items():
                if turn_id in self._watched:
                    _stop(*self._watched[turn_id], reason=reason)


def _stop(turn: OpenTurn, limit: asyncio.Timeout, *, reason: StopReason) -> None:
    if limit.expired() or not turn.obeys(reason):
        return
    turn.stop = reason
    limit.reschedule(asyncio.get_running_loop().time())


stop_watch = StopWatch()
"""This process's."""
