"""The web chat as a platform. Its pages read the outbox themselves; a send rings for the pages that are open."""

from __future__ import annotations

from typing import Any

import aiohttp

from gateway_app.platforms.base import OutgoingPart, Platform
from gateway_app.sessions.source import SessionContext

from .stream import CHANGED, key, publisher, window, work


class Adapter(Platform):
    name = "webchat"
    shows = "Answers are shown in a web page, as Markdown. A line `MEDIA:` with a file's reference shows that file."
    largest_file = 2**40
    """Files are not sent but asked for; the gateway's own limit holds."""
    is_streamed = True
    tool_progress = "all"
    answers_requests = True

    def split(self, text: str) -> list[str]:
        return [text] if text else []

    async def send(self, part: OutgoingPart, *, http: aiohttp.ClientSession) -> str:
        """Rings. The part is delivered by being in the outbox, so it cannot fail and cannot be doubled."""
        self._ring(part.chat_id)
        await publisher().flush()
        return str(part.part_id)

    async def show_typing(self, context: SessionContext, *, http: aiohttp.ClientSession) -> None:
        """Rings: pages see from the database that a turn is running."""
        self._ring(context.chat_id)

    async def stream(self, context: SessionContext, *, turn_id: int, text: str) -> None:
        publisher().put(key(context.chat_id), window(turn_id=turn_id, text=text))

    def stream_work(self, context: SessionContext, *, turn_id: int, entries: list[dict[str, Any]]) -> None:
        publisher().put(key(context.chat_id), work(turn_id=turn_id, entries=entries))

    def _ring(self, chat_id: str) -> None:
        publisher().put(key(chat_id), CHANGED)
