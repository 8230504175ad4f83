"""Messages of a chat that are kept up to date while a turn runs, at a distance that the platform can bear.

They are hints. So they are sent past the outbox, they never wait for each other, and where the platform has had enough
there are none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import aiohttp
from django.conf import settings
from django.db import Error as DatabaseError

from gateway_app.config import live
from gateway_app.lanes import LaneLost
from gateway_app.platforms.base import MessageGone, OutgoingPart, Platform, SendError, UnknownOutcome

from .opening import OpenTurn

log = logging.getLogger(__name__)

MOST_STRIKES = 3
"""Refusals after which a turn shows nothing more: the platform means it."""
LONGEST_PAUSE_SECONDS = 3600.0
"""A longer `retry_after` is for replies to obey."""
AGAIN_SECONDS = 2.0
"""Until a chat is looked at again in which something waited to be sent."""


class Allowance:
    """So many calls a second and no more: they count against a platform's limits as replies do, which matter more."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._second = 0
        self._taken = 0

    def take(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += 1
        return self._taken <= self._most()


edits = Allowance(lambda: live.config().streaming.edits_per_second)
"""This process's."""
_paused_until: dict[tuple[str, str], float] = {}
"""Platforms and accounts that told this process to wait with its edits, on the monotonic clock."""


class Screen:
    """A chat as one turn shows things in it."""

    def __init__(self, platform: Platform, turn: OpenTurn, *, http: aiohttp.ClientSession) -> None:
        self.platform = platform
        self.turn = turn
        self.is_over = False
        """Nothing more is shown."""
        self.shown_at = 0.0
        """When something was shown last, on the monotonic clock."""
        self._http = http
        self._strikes = 0
        self._account = (platform.name, turn.context.account)

    @property
    def distance(self) -> float:
        """Seconds between two edits; more after each refusal."""
        least = self.platform.edit_distance(self.turn.context)
        return float(max(live.config().streaming.edit_interval, least) * 2**self._strikes)

    def may_show(self) -> bool:
        """Whether a call may be made now."""
        if time.monotonic() < _paused_until.get(self._account, 0.0) or not self.turn.claim.is_trusted():
            return False
        return edits.take()

    async def put(self, text: str, *, name: str, message_id: str) -> str:
        """Shows `text` in the message, or in a new one; the message's id, empty where it did not go.

        Raises `MessageGone` and `UnknownOutcome`.
        """
        context = self.turn.context
        part = OutgoingPart(
            part_id=0, idempotency_key=f"preview/{self.turn.turn_id}/{self.turn.attempts}/{name}",
            account=context.account, chat_id=context.chat_id, thread_id=context.thread_id,
            reply_to=self.turn.reply_to, text=text, attempts=1, unknown_outcomes=0, replaces=message_id,
            is_ours=self.turn.claim.is_trusted,
        )  # fmt: skip
        try:
            async with asyncio.timeout(settings.SEND_TIMEOUT_SECONDS):
                if message_id:
                    await self.platform.edit(part, http=self._http)
                else:
                    message_id = await self.platform.send(part, http=self._http)
        except MessageGone:
            self.is_over = True  # a person has deleted it, and wants none
            raise
        except SendError as error:
            self._note_refusal(error)
            return ""
        except TimeoutError:
            raise UnknownOutcome(f"no answer within {settings.SEND_TIMEOUT_SECONDS:g} s") from None
        self.shown_at = time.monotonic()
        return message_id

    async def delete(self, message_id: str) -> None:
        context = self.turn.context
        part = OutgoingPart(
            part_id=0, idempotency_key="", account=context.account, chat_id=context.chat_id,
            thread_id=context.thread_id, reply_to="", text="", attempts=1, unknown_outcomes=0,
        )  # fmt: skip
        await self.platform.delete(part, message_id=message_id, http=self._http)

    def _note_refusal(self, error: SendError) -> None:
        self._strikes += 1
        self.is_over = error.permanent or self._strikes >= MOST_STRIKES
        wait = min(error.retry_after or 0.0, LONGEST_PAUSE_SECONDS)
        if wait:
            _paused_until[self._account] = max(_paused_until.get(self._account, 0.0), time.monotonic() + wait)
        log.info("%s refused a preview (%s of %s): %s", self.platform.name, self._strikes, MOST_STRIKES, error)


class Bubble:
    """One message that shows the newest of what it is given."""

    def __init__(
        self,
        screen: Screen,
        *,
        name: str,
        render: Callable[[str], str],
        opening: Callable[[], Awaitable[bool]],
        opened: Callable[[str], Awaitable[None]] | None = None,
        message_id: str = "",
    ) -> None:
        """`render` makes of a text what is sent, if anything is. `opening` is asked before the message is sent, and
        `opened` gets its id. With a `message_id` it is there already.
        """
        self.message_id = message_id
        self.is_lost = False
        """What the message shows, or will show, is not known."""
        self._screen = screen
        self._name = name
        self._render = render
        self._opening = opening
        self._opened = opened
        self._text = ""
        self._shown = ""
        self._news = asyncio.Event()
        self._is_closing = False
        self._is_calling = False
        self._timer: asyncio.TimerHandle | None = None
        self._pump: asyncio.Task[None] | None = None

    def show(self, text: str) -> None:
        """Has the message show `text`, soon."""
        self._text = text
        self._news.set()
        if self._pump is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._screen.distance, self._start)

    def _start(self) -> None:
        self._pump = asyncio.get_running_loop().create_task(self._keep_up(), name="preview")

    async def settle(self, *, seconds: float) -> None:
        """Ends it. A call that is under way has so many seconds; after that what comes of it is not known."""
        self._is_closing = True
        if self._timer:
            self._timer.cancel()
        if self._pump is None:
            return
        if self._is_calling:
            await asyncio.wait([self._pump], timeout=seconds)
        if self._is_calling:
            self.is_lost = True
        else:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)

    async def finish(self, text: str) -> None:
        """Ends it with `text` as the last that it shows, where there is a message."""
        await self.settle(seconds=settings.SEND_TIMEOUT_SECONDS)
        if self.message_id and not self.is_lost and text not in ("", self._shown) and not self._screen.is_over:
            await self._bring(text)

    async def vanish(self) -> None:
        """Takes the message out of the chat, once the call that is under way has told which it is."""
        if self._pump:
            await asyncio.gather(self._pump, return_exceptions=True)
        if self.message_id:
            await self._screen.delete(self.message_id)

    async def _keep_up(self) -> None:
        while not (self._is_closing or self._screen.is_over):
            self._news.clear()
            text, wait = self._render(self._text), self._screen.distance
            if text not in ("", self._shown) and self._screen.may_show() and not await self._bring(text):
                wait = max(wait, AGAIN_SECONDS)
            if self._is_closing:
                return
            await asyncio.sleep(wait)
            if self._render(self._text) in ("", self._shown):
                await self._news.wait()

    async def _bring(self, text: str) -> bool:
        """Shows the text; false where that is not to be tried again soon."""
        self._is_calling = True
        try:
            if not self.message_id and not await self._opening():
                return False
            found = await self._screen.put(text, name=self._name, message_id=self.message_id)
            if found:
                is_new, self.message_id, self._shown = found != self.message_id, found, text
                if is_new and self._opened:
                    await self._opened(found)
            return True
        except MessageGone:
            self.message_id = ""
        except UnknownOutcome as error:
            log.info("What became of a preview is not known: %s", error)
            self.is_lost = self._screen.is_over = True
        except LaneLost:
            self._screen.is_over = True
        except DatabaseError as error:
            log.warning("A preview could not be recorded (%s).", type(error).__name__)
        except Exception:
            log.exception("A preview failed; the turn goes on without.")
            self.is_lost = self._screen.is_over = True
        finally:
            self._is_calling = False
        return False
