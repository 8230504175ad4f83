"""Shows a chat that its turn is being worked on: typing, and the reply while it is written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from django.conf import settings
from django.db import Error as DatabaseError

from gateway_app.config import live
from gateway_app.lanes import LaneLost
from gateway_app.platforms.base import Platform
from gateway_app.worker.database import in_database

from .notices import still_working
from .opening import OpenTurn

log = logging.getLogger(__name__)

TYPING_AFTER_SECONDS = 0.8
"""A quick answer needs no typing sign, and is spared its cost."""
TYPING_EVERY_SECONDS = 4.5
"""Platforms show a typing sign for about five seconds."""
STREAM_EVERY_SECONDS = 0.05
"""Pieces of a reply are passed on together this often: readers see no difference, and it costs a tenth."""


@contextlib.asynccontextmanager
async def shown(
    platform: Platform, turn: OpenTurn, *, http: aiohttp.ClientSession
) -> AsyncIterator[Callable[[str], Awaitable[None]] | None]:
    """While the block runs the chat shows that somebody is at it. Yields what shows the reply so far, if anything."""
    typing = asyncio.create_task(_type(platform, turn, http=http))
    try:
        # A page shows one reply being written at a time: that of the conversation.
        yield _Streamer(platform, turn).show if platform.is_streamed and not turn.source.background else None
    finally:
        typing.cancel()


async def _type(platform: Platform, turn: OpenTurn, *, http: aiohttp.ClientSession) -> None:
    started = noticed = time.monotonic()
    notices = 0
    await asyncio.sleep(TYPING_AFTER_SECONDS)
    while True:
        if allowance.take():
            await platform.show_typing(turn.context, http=http)
        await asyncio.sleep(TYPING_EVERY_SECONDS)
        every, now = live.config().display.notify_seconds, time.monotonic()
        if platform.is_pushed and 0 < every <= now - noticed:
            noticed, notices = now, notices + 1
            await _notify(turn, number=notices, minutes=int((now - started) / 60))


async def _notify(turn: OpenTurn, *, number: int, minutes: int) -> None:
    try:
        await in_database(still_working, turn, number=number, minutes=minutes)
    except (LaneLost, DatabaseError) as error:
        log.warning("Could not say that turn %s is still under way (%s).", turn.turn_id, type(error).__name__)


class Allowance:
    """So many signs a second and no more: they count against a platform's limits as replies do, which matter more."""

    def __init__(self) -> None:
        self._second = 0
        self._taken = 0

    def take(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += 1
        return self._taken <= settings.TYPING_PER_SECOND


allowance = Allowance()
"""This process's."""


class _Streamer:
    """Passes the reply so far on, at most every STREAM_EVERY_SECONDS."""

    def __init__(self, platform: Platform, turn: OpenTurn) -> None:
        self._platform = platform
        self._turn = turn
        self._shown_at = 0.0

    async def show(self, text: str) -> None:
        now = time.monotonic()
        if now - self._shown_at >= STREAM_EVERY_SECONDS:
            self._shown_at = now
            await self._platform.stream(self._turn.context, turn_id=self._turn.turn_id, text=text)
