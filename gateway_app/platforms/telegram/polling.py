"""Long polling: asks Telegram for updates, accepts them, and only then acknowledges them with the next poll."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from typing import Any

import aiohttp
from django.conf import settings
from django.db import Error as DatabaseError

from gateway_app import metrics
from gateway_app.platforms.base import ButtonPress, InboundEvent, UnreadableEvent
from gateway_app.platforms.lease import ListenerLease
from gateway_app.platforms.listening import backoff
from gateway_app.platforms.receiving import receive

from . import api, reading
from .pressing import Presses
from .reading import Bot

log = logging.getLogger(__name__)

BATCH = 100
"""Updates asked for at once; Telegram's own limit."""

ANSWER_SECONDS = 15.0
"""How much longer than the poll itself an answer may take."""

CONFLICT_SECONDS = 2.0
"""The wait after another program's poll ended ours; each further one doubles it, up to LISTENER_BACKOFF_MAX_SECONDS.
One conflict is usual after a takeover, while Telegram still holds the dead listener's poll."""

ALBUMS = 100
"""Albums that are remembered; their pictures come within a second."""

UPDATE_ID = re.compile(rb'"update_id"\s*:\s*(\d{1,18})\b')


class Poller:
    """One bot's polling, until cancelled. Keeps nothing but the number of the next update, and which albums address
    the bot, whose further pictures do not say so.
    """

    def __init__(self, *, lease: ListenerLease, http: aiohttp.ClientSession) -> None:
        self._lease = lease
        self._http = http
        self._bot: Bot | None = None
        self._offset: int | None = None
        self._batch = BATCH
        self._failures = 0
        self._has_webhook = False
        self._polled_at = 0.0
        self._has_more = False
        self._albums: deque[str] = deque(maxlen=ALBUMS)
        self._presses = Presses(lease=lease, http=http)

    async def run(self) -> None:
        """Raises `LeaseLost` once the lease is gone; every other trouble is reported, waited out and tried again."""
        try:
            await self._run()
        finally:
            self._presses.close()

    async def _run(self) -> None:
        while True:
            self._lease.check()
            try:
                await self._ask_and_take()
            except api.ApiError as error:
                await self._wait_after_refusal(error)
            except (api.NotSent, api.NoAnswer, api.Garbled) as error:
                await self._wait(f"Telegram cannot be reached: {error}")
            except DatabaseError as error:
                await self._wait(f"the database takes no updates, so they stay with Telegram: {type(error).__name__}")
            else:
                self._recovered()

    async def _ask_and_take(self) -> None:
        if self._has_webhook:
            await api.call(self._http, "deleteWebhook", {"drop_pending_updates": False}, seconds=ANSWER_SECONDS)
            self._has_webhook = False
        bot = self._bot = self._bot or await self._ask_who_we_are()
        try:
            updates = await self._poll()
        except api.Garbled as error:
            if error.status >= 400 or not await self._step_over(error, bot=bot):
                raise
        else:
            await self._take(updates, bot=bot)
            self._batch = min(self._batch * 2, BATCH)

    async def _ask_who_we_are(self) -> Bot:
        found = await api.call(self._http, "getMe", {}, seconds=ANSWER_SECONDS)
        user_id, username = found.get("id"), found.get("username")
        log.info("Polling Telegram as @%s.", username)
        return Bot(account=self._lease.account, user_id=int(user_id), username=str(username or user_id))

    async def _poll(self) -> list[Any]:
        """The next updates. In a rush polls keep a small distance, so that one transaction takes what many would."""
        wait = self._polled_at + settings.TELEGRAM_POLL_DISTANCE_SECONDS - time.monotonic()
        if wait > 0 and not self._has_more:
            await asyncio.sleep(wait)
        self._polled_at = time.monotonic()
        request: dict[str, Any] = {
            "timeout": settings.TELEGRAM_POLL_SECONDS,
            "limit": self._batch,
            "allowed_updates": reading.KINDS,
        }
        if self._offset is not None:
            request["offset"] = self._offset
        found = await api.call(
            self._http, "getUpdates", request, seconds=settings.TELEGRAM_POLL_SECONDS + ANSWER_SECONDS
        )
        if not isinstance(found, list):
            raise api.Garbled(200, repr(found)[:80].encode())
        self._has_more = len(found) >= self._batch
        return found

    async def _take(self, updates: list[Any], *, bot: Bot) -> None:
        """Accepts a batch, in the order of its numbers, each once; afterwards the next poll acknowledges it."""
        numbered = {number: update for update in updates if (number := reading.update_id(update)) is not None}
        self._albums.extend(reading.addressed_albums(updates, bot=bot))
        found = [reading.read(numbered[number], bot=bot, albums=self._albums) for number in sorted(numbered)]
        found += [reading.read(update, bot=bot) for update in updates if reading.update_id(update) is None]
        events = [event for event in found if isinstance(event, InboundEvent)]
        unreadable = [event for event in found if isinstance(event, UnreadableEvent)]
        if events or unreadable:
            await receive(events, unreadable=unreadable, lease=self._lease)
        for press in found:
            if isinstance(press, ButtonPress):
                await self._presses.take(press)
        if ignored := found.count(None):
            metrics.ACCEPTED.labels(platform="telegram", outcome="ignored").inc(ignored)
        if numbered:
            self._offset = max(max(numbered) + 1, self._offset or 0)
        elif updates:
            # Without a number they cannot be acknowledged, and would be handed out again at once.
            await asyncio.sleep(backoff(1))

    async def _step_over(self, error: api.Garbled, *, bot: Bot) -> bool:
        """Deals with a batch that is no JSON, or too large. False if nothing can be done about it.

        It is asked for again one by one. The update that cannot be read alone is recorded under the number that
        stands in it, and acknowledged.
        """
        if self._batch > 1:
            log.warning("A batch of updates cannot be read; asking for them one by one.")
            self._batch = 1
            return True
        found = UPDATE_ID.search(error.body)
        if found is None:
            return False
        number = int(found[1])
        event = reading.unreadable(str(number), "an update that is no JSON, or too large", bot=bot)
        await receive([], unreadable=[event], lease=self._lease)
        self._offset = number + 1
        return True

    async def _wait_after_refusal(self, error: api.ApiError) -> None:
        if error.code in (401, 404):
            await self._wait(f"Telegram refused TELEGRAM_BOT_TOKEN: {error}", seconds=settings.TELEGRAM_REFUSED_SECONDS)
        elif error.code == 409 and "webhook" in error.description.lower():
            self._has_webhook = True
            await self._wait(f"the bot has a webhook, which excludes polling and is removed now: {error}", seconds=0)
        elif error.code == 409:
            wait = min(CONFLICT_SECONDS * 2 ** min(self._failures, 10), settings.LISTENER_BACKOFF_MAX_SECONDS)
            await self._wait(f"another program polls this bot: {error}", seconds=wait)
        else:
            await self._wait(f"Telegram refused a poll: {error}", seconds=error.retry_after)

    async def _wait(self, trouble: str, *, seconds: float | None = None) -> None:
        """Says what is wrong, once while it stays the same, and waits."""
        self._failures += 1
        wait = backoff(self._failures) if seconds is None else seconds
        if trouble != self._lease.error:
            log.warning("No updates for bot %s: %s. Next try in %.1f s.", self._lease.account, trouble, wait)
            self._lease.report(trouble)
        await asyncio.sleep(wait)

    def _recovered(self) -> None:
        self._lease.polled()
        if self._failures:
            log.info("Polling for bot %s works again.", self._lease.account)
            self._failures = 0
