"""The command line as a platform: `manage.py chat` runs its turns itself and fetches its replies."""

from __future__ import annotations

import aiohttp

from gateway_app.platforms.base import OutgoingPart, Platform, SendError


class Adapter(Platform):
    name = "cli"
    shows = "Answers are shown in a terminal, as plain text: use no Markdown."
    is_pushed = False
    is_limited = False

    def split(self, text: str) -> list[str]:
        return [text] if text else []

    async def send(self, part: OutgoingPart, *, http: aiohttp.ClientSession) -> str:
        raise SendError("the command line fetches its replies itself")
