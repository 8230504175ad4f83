"""Shows a chat that its turn is being worked on: typing, the reply while it is written, what tools do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
from django.conf import settings
from django.db import Error as DatabaseError

from gateway_app.agent.model_reply import ToolCall
from gateway_app.agent.results import Result
from gateway_app.config import live
from gateway_app.delivery.outbox import Place
from gateway_app.lanes import LaneLost
from gateway_app.media import outgoing
from gateway_app.models.turn import StepKind
from gateway_app.platforms.base import Platform
from gateway_app.statements import Statement
from gateway_app.worker.database import in_database

from . import preview, work
from .bubble import Allowance, Bubble, Screen
from .display import Display, display_of
from .journal import Step
from .notices import still_working
from .opening import OpenTurn

log = logging.getLogger(__name__)

TYPING_AFTER_SECONDS = 0.8
"""A quick answer needs no typing sign, and is spared its cost."""
TYPING_EVERY_SECONDS = 4.5
"""Platforms show a typing sign for about five seconds."""
STREAM_EVERY_SECONDS = 0.05
"""Pieces of a reply are passed on together this often: readers see no difference, and it costs a tenth."""
THOUGHT_EVERY_SECONDS = 0.25
"""The same for what a model thinks, which nobody reads word by word."""
SETTLE_SECONDS = 0.5
"""How long a finished reply waits for a call of its preview that is under way. Mostly that is a tenth of it."""
STOPPED_SETTLE_SECONDS = 0.2
"""The same where the turn is stopped, which takes less than a second in all."""


@contextlib.asynccontextmanager
async def shown(platform: Platform, turn: OpenTurn, *, http: aiohttp.ClientSession) -> AsyncIterator[Stage]:
    """While the block runs the chat shows that somebody is at it, and what the stage is given."""
    display = display_of(platform, overrides=turn.overrides, is_beside=bool(turn.source.background))
    stage = (Streamed if platform.is_streamed else Edited)(platform, turn, display, http=http)
    typing = asyncio.create_task(_type(platform, turn, stage, http=http))
    try:
        yield stage
    finally:
        typing.cancel()
        await stage.leave()


class Stage:
    """What a chat sees of a turn before its reply. As it stands it shows nothing."""

    def __init__(self, platform: Platform, turn: OpenTurn, display: Display, *, http: aiohttp.ClientSession) -> None:
        self.platform = platform
        self.turn = turn
        self.display = display
        self._work = work.of_journal(turn.steps, mode=display.tool_progress, shows_reasoning=display.shows_reasoning)
        self._thought_at = 0.0

    @property
    def shown_at(self) -> float:
        """When something was shown last, on the monotonic clock."""
        return 0.0

    async def on_text(self, text: str) -> None:
        """The reply so far; shorter than before where the model was asked anew."""
        self.turn.partial = text

    def on_thought(self, thought: str) -> None:
        """What the model thinks, all of it since it was asked."""
        if self._work.think(thought) and time.monotonic() - self._thought_at >= THOUGHT_EVERY_SECONDS:
            self._thought_at = time.monotonic()
            self._show_work()

    def on_call(self, call: ToolCall, result: Result | None) -> None:
        """A tool call begins, or has its result."""
        is_shown = self._work.begin(call) if result is None else self._work.end(call.id, content=result.content)
        if is_shown:
            self._show_work()

    def closing(self, steps: Sequence[Step]) -> list[Statement]:
        """Statements that belong to the commit of these steps."""
        return []

    def close(self, steps: Sequence[Step]) -> None:
        """The journal has these steps. After a reply that calls tools what was said stays, and what comes is new."""
        for step in steps:
            if step.kind is StepKind.MODEL_REPLY:
                self._work.end_thought()
                self._work.say(step.payload["text"])

    async def leave(self) -> None:
        """The turn has its reply, or has failed."""

    def _show_work(self) -> None:
        pass


class Streamed(Stage):
    """On a platform that shows what it is given at once."""

    def __init__(self, platform: Platform, turn: OpenTurn, display: Display, *, http: aiohttp.ClientSession) -> None:
        super().__init__(platform, turn, display, http=http)
        self._streamed_at = 0.0
        self._worked_at = 0.0

    @property
    def shown_at(self) -> float:
        return max(self._streamed_at, self._worked_at)

    async def on_text(self, text: str) -> None:
        await super().on_text(text)
        now = time.monotonic()
        if now - self._streamed_at >= STREAM_EVERY_SECONDS:
            self._streamed_at = now
            await self.platform.stream(self.turn.context, turn_id=self.turn.turn_id, text=outgoing.unasked(text))

    def _show_work(self) -> None:
        self._worked_at = time.monotonic()
        self.platform.stream_work(self.turn.context, turn_id=self.turn.turn_id, entries=self._work.entries)


class Edited(Stage):
    """On a platform that has only messages: they are sent early, and edited."""

    def __init__(self, platform: Platform, turn: OpenTurn, display: Display, *, http: aiohttp.ClientSession) -> None:
        super().__init__(platform, turn, display, http=http)
        self._screen = Screen(platform, turn, http=http)
        self._reply: Bubble | None = None
        self._calls: Bubble | None = None
        self._bubbles = 0
        self._told = len(self._work.calls)
        """Calls that other messages tell of."""

    @property
    def shown_at(self) -> float:
        return self._screen.shown_at

    async def on_text(self, text: str) -> None:
        await super().on_text(text)
        if self._screen.is_over or len(text) < live.config().streaming.buffer_threshold:
            return
        if self._reply is None:
            self._close_calls()
            self._reply = self._preview()
        self._reply.show(text)

    def _preview(self) -> Bubble:
        """The message that shows the reply; that of an earlier attempt, if there was one."""
        turn = self.turn

        async def opening() -> bool:
            seq = await in_database(preview.announce, turn)
            if seq is None or self._reply is not bubble:
                return False
            turn.preview = Place("", seq)
            return True

        async def opened(message_id: str) -> None:
            if self._reply is bubble and turn.preview:
                turn.preview = replace(turn.preview, message_id=message_id)
                await in_database(preview.record, turn, message_id=message_id)

        known = turn.preview.message_id if turn.preview else ""
        bubble = self._bubble(render=self._clipped, opening=opening, opened=opened, message_id=known)
        return bubble

    def _clipped(self, text: str) -> str:
        """The beginning that one message takes, with the cursor where it is all; empty where nothing is to be seen."""
        text = outgoing.unasked(text).rstrip()
        if not text:
            return ""
        whole = text + live.config().streaming.cursor
        first, *rest = self.platform.split(whole) or [""]
        return first if rest else whole

    def _show_work(self) -> None:
        calls = self._work.calls[self._told :]
        if not calls or self._screen.is_over:
            return
        if self._calls is None:
            self._calls = self._bubble(render=str, opening=self._is_free)
        self._calls.show(work.lines(calls))

    async def _is_free(self) -> bool:
        return await in_database(preview.is_free, self.turn.context)

    def _bubble(self, **values: Any) -> Bubble:
        self._bubbles += 1
        return Bubble(self._screen, name=str(self._bubbles), **values)

    def _close_calls(self) -> None:
        if self._calls:
            self._later(self._calls.finish(work.lines(self._work.calls[self._told :])))
            self._calls = None
        self._told = len(self._work.calls)

    def closing(self, steps: Sequence[Step]) -> list[Statement]:
        is_said = any(step.kind is StepKind.MODEL_REPLY for step in steps)
        return [preview.forgetting(self.turn)] if is_said and self.turn.preview else []

    def close(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.kind is StepKind.MODEL_REPLY:
                if self._reply:
                    self._later(self._reply.finish(self._whole(step.payload["text"])))
                self._reply = self.turn.preview = None
        super().close(steps)

    def _whole(self, text: str) -> str:
        return (self.platform.split(outgoing.unasked(text).rstrip()) or [""])[0]

    async def leave(self) -> None:
        seconds = STOPPED_SETTLE_SECONDS if self.turn.stop else SETTLE_SECONDS
        bubbles = [bubble for bubble in (self._reply, self._calls) if bubble]
        await asyncio.gather(*(bubble.settle(seconds=seconds) for bubble in bubbles))
        self._close_calls()
        if self._reply is None or self.turn.preview is None:
            return
        if self._reply.is_lost and not self._reply.message_id:
            self._later(self._reply.vanish())
        if self._reply.message_id:
            self.turn.preview = replace(self.turn.preview, is_lost=self._reply.is_lost)
        else:
            self.turn.preview = None

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Has it done while the turn goes on; the worker waits for it before it leaves the session."""
        self.turn.leftovers.append(asyncio.create_task(work))


async def _type(platform: Platform, turn: OpenTurn, stage: Stage, *, http: aiohttp.ClientSession) -> None:
    started = noticed = time.monotonic()
    notices = 0
    await asyncio.sleep(TYPING_AFTER_SECONDS)
    while True:
        if allowance.take():
            await platform.show_typing(turn.context, http=http)
        await asyncio.sleep(TYPING_EVERY_SECONDS)
        every, now = live.config().display.notify_seconds, time.monotonic()
        # Where people see something being written, nobody has to tell them.
        if platform.is_pushed and 0 < every <= now - max(noticed, stage.shown_at):
            noticed, notices = now, notices + 1
            await _notify(turn, number=notices, minutes=int((now - started) / 60))


async def _notify(turn: OpenTurn, *, number: int, minutes: int) -> None:
    try:
        await in_database(still_working, turn, number=number, minutes=minutes)
    except (LaneLost, DatabaseError) as error:
        log.warning("Could not say that turn %s is still under way (%s).", turn.turn_id, type(error).__name__)


allowance = Allowance(lambda: settings.TYPING_PER_SECOND)
"""This process's, for typing."""
