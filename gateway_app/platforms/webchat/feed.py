"""The events of one open page: what the database has that the page lacks, and the reply while it is written.

The database is asked whenever the conversation's stream rings, at the beginning, and every now and then, so that
a lost stream, a trimmed one or a dead Redis cost time only. An event's id is the cursor from which a browser goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError

from gateway_app.worker.database import in_database

from . import conversations
from .asked import Asked
from .conversations import Cursor, News
from .hub import Channel, hub

HEARTBEAT_SECONDS = 15.0
"""A comment line this often keeps proxies from closing a quiet connection."""
RECONNECT_MS = 1_000
DATABASE_IS_AWAY = "The gateway cannot reach its database at the moment. Nothing is lost; this page goes on by itself."


async def feed(*, chat_id: str, cursor: Cursor) -> AsyncIterator[bytes]:
    """Server-sent events: `update`, `partial`, `work`, `trouble`; for WEBCHAT_CONNECTION_SECONDS at the most."""
    now = asyncio.get_running_loop().time
    ends_at = now() + settings.WEBCHAT_CONNECTION_SECONDS
    beats_at = now() + HEARTBEAT_SECONDS
    waker = asyncio.Event()
    view = View(cursor)
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    async with hub().watching(chat_id, waker) as channel:
        while not hub().is_stopping and now() < ends_at:
            waker.clear()
            if view.wants(channel) or now() >= view.reads_at(is_live=hub().is_live):
                async for event in _read(view, channel, chat_id):
                    yield event
                view.read_at = now()
            for event in (view.work(channel), view.partial(channel)):
                if event:
                    yield event
            if now() >= beats_at:
                yield b": still here\n\n"
                beats_at = now() + HEARTBEAT_SECONDS
            try:
                async with asyncio.timeout_at(min(view.reads_at(is_live=hub().is_live), beats_at, ends_at)):
                    await waker.wait()
            except TimeoutError:
                pass


async def _read(view: View, channel: Channel, chat_id: str) -> AsyncIterator[bytes]:
    """The events for what the database has and the page lacks."""
    is_complete = False
    while not is_complete:
        view.seen(channel)
        try:
            news = await in_database(conversations.news, chat_id, after=view.cursor, is_asked=view.is_asked)
        except DatabaseError:
            if not view.is_troubled:
                view.is_troubled = True
                yield encoded("trouble", {"text": DATABASE_IS_AWAY})
            return
        if event := view.update(news):
            yield event
        is_complete = news.is_complete


class View:
    """What one page has been sent."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.read_at = 0.0
        """When the database was asked, on the loop's clock."""
        self.is_troubled = False
        self._changes = -1
        self._turn_id = -1
        self._running = -1
        self._open: dict[str, str] = {}
        """The state last sent of each message that may still change."""
        self._partial = (0, "")
        self._work: tuple[int, list[dict[str, Any]]] = (0, [])
        self._asked: list[Asked] = []
        self.is_asked = True
        """As far as the page knows, a turn waits for the person."""

    def wants(self, channel: Channel) -> bool:
        """Whether the channel says that the database has something new: it rang, or shows an unknown turn's reply."""
        return channel.changes != self._changes or channel.turn_id not in {self._turn_id, self._running, 0}

    def seen(self, channel: Channel) -> None:
        self._changes, self._turn_id = channel.changes, channel.turn_id

    def reads_at(self, *, is_live: bool) -> float:
        """When the database is asked again though nothing rang."""
        if not is_live or self.is_troubled:
            return self.read_at + float(settings.WEBCHAT_POLL_SECONDS)
        waits = self._running > 0 or self._open
        return self.read_at + float(settings.WEBCHAT_CHECK_SECONDS if waits else settings.WEBCHAT_IDLE_CHECK_SECONDS)

    def update(self, news: News) -> bytes:
        """The event for what is new, empty where nothing is."""
        items = [item for item in news.items if self._open.get(item["id"]) != item.get("state", "sent")]
        is_new = bool(items) or news.running != self._running or self.is_troubled or news.asked != self._asked
        self._asked, self.is_asked = news.asked, any(each["state"] == "pending" for each in news.asked)
        self._open = {
            item["id"]: item["state"]
            for item in news.items
            if item["from"] == "you" and item["seq"] > news.cursor.inbound
        }
        self.cursor, self._running, self.is_troubled = news.cursor, news.running, False
        if not is_new:
            return b""
        data = {"items": items, "running": news.running, "asked": news.asked}
        return encoded("update", data, event_id=news.cursor)

    def partial(self, channel: Channel) -> bytes:
        """The event that brings the running turn's reply up to date, empty where it is."""
        if channel.turn_id != self._running or self._partial == (channel.turn_id, channel.text):
            return b""
        if not channel.text and self._partial[0] != channel.turn_id:
            return b""
        turn_id, shown = self._partial
        self._partial = (channel.turn_id, channel.text)
        if turn_id == channel.turn_id and channel.text.startswith(shown):
            return encoded("partial", {"turn": turn_id, "more": channel.text[len(shown) :]})
        return encoded("partial", {"turn": channel.turn_id, "text": channel.text})

    def work(self, channel: Channel) -> bytes:
        """The event that brings what the running turn has done up to date, empty where it is."""
        work = (channel.turn_id, channel.entries)
        if channel.turn_id != self._running or not channel.entries or self._work == work:
            return b""
        self._work = work
        return encoded("work", {"turn": channel.turn_id, "entries": channel.entries})


def encoded(name: str, data: dict[str, Any], *, event_id: Cursor | None = None) -> bytes:
    """One server-sent event. JSON has no line breaks of its own, so one `data:` line holds it."""
    lines = [f"event: {name}", f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}"]
    if event_id:
        lines.insert(0, f"id: {event_id}")
    return ("\n".join(lines) + "\n\n").encode()
