"""Browsers on the web chat, and the model that talks to them: how much of what it says they see, and how soon.

Each is a process of its own. `python -m benchmarks.browsers model` answers every call with a stream of tokens, each the
moment at which it was sent; `POST /_/script` sets how many there are and how many a second. `python -m
benchmarks.browsers crowd <address> <file>` opens a page for each person in the file; `POST /_/run` has them all write.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.peers.serving import PeerServer

TOKEN = re.compile(r"(\d+);")
CSRF = "c" * 32
"""The same in cookie and header is what the server asks of a page."""
CHUNK = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":%s}]}\n\n'
)
END = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


def now() -> int:
    """Milliseconds of a clock that all processes of the machine share."""
    return int(time.monotonic() * 1000)


class TalkingModel(PeerServer):
    """Writes tokens at a steady rate."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.rate = 100, 20.0
        self.sent = 0

    @property
    def announced(self) -> str:
        return f"{self.url}/v1"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith("/_/"):
            if request.method == "POST":
                fields = await request.json()
                self.tokens, self.rate, self.sent = fields["tokens"], fields["rate"], 0
            return web.json_response({"sent": self.sent})
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        started = time.monotonic()
        for number in range(1, self.tokens + 1):
            await response.write(CHUNK % json.dumps({"content": f"{now()};"}).encode())
            self.sent += 1
            await asyncio.sleep(max(0.0, started + number / self.rate - time.monotonic()))
        await response.write(END)
        await response.write_eof()
        return response


class Browser:
    """One person's open page."""

    def __init__(self, *, http: aiohttp.ClientSession, address: str, cookie: str, chat: str) -> None:
        self.http, self.chat = http, f"{address}/chat/{chat}"
        self.headers = {"Cookie": f"sessionid={cookie}; csrftoken={CSRF}", "X-CSRFToken": CSRF}
        self.begin()

    def begin(self) -> None:
        self.seen: set[str] = set()
        self.delays: list[int] = []
        self.live_at: list[int] = []
        """When a token came while the answer was being written."""
        self.tail = ""
        self.is_answered = False

    async def follow(self) -> None:
        """Reads the page's events for ever."""
        name = cursor = ""
        while True:
            headers = self.headers | {"Last-Event-ID": cursor}
            async with self.http.get(f"{self.chat}/events", headers=headers) as response:
                response.raise_for_status()
                async for line in response.content:
                    field, _, value = line.decode().rstrip("\n").partition(": ")
                    if field == "id":
                        cursor = value
                    elif field == "event":
                        name = value
                    elif field == "data":
                        self.take(name, json.loads(value))

    def take(self, name: str, data: dict[str, Any]) -> None:
        at = now()
        if name == "update":
            for item in data["items"]:
                if item["from"] == "agent":
                    self.is_answered = True
                    self.count(item["text"], at)
            return
        text = self.tail + data["more"] if "more" in data else data.get("text", "")
        self.tail = text.rpartition(";")[2]
        self.count(text, at, is_live=True)

    def count(self, text: str, at: int, *, is_live: bool = False) -> None:
        """Counts each token once, however often it is in what the page is sent."""
        for token in TOKEN.findall(text):
            if token not in self.seen:
                self.seen.add(token)
                if is_live:
                    self.delays.append(at - int(token))
                    self.live_at.append(at)

    async def post(self, number: int) -> None:
        body = {"id": f"bench-{number:08d}-{time.monotonic_ns()}", "text": "Talk to me."}
        async with self.http.post(f"{self.chat}/post", json=body, headers=self.headers) as response:
            response.raise_for_status()


class Crowd(PeerServer):
    """All browsers."""

    def __init__(self, *, address: str, people: list[dict[str, str]]) -> None:
        super().__init__()
        self.address, self.people = address, people
        self.browsers: list[Browser] = []
        self.pages: list[asyncio.Task[None]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self.browsers:
            connector = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout(total=None)
            http = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
            self.browsers = [Browser(http=http, address=self.address, **person) for person in self.people]
            self.pages = [asyncio.create_task(browser.follow()) for browser in self.browsers]
            await asyncio.sleep(2)
        for page in self.pages:
            if page.done():
                page.result()
        if request.method == "POST":
            for browser in self.browsers:
                browser.begin()
            await asyncio.gather(*(browser.post(number) for number, browser in enumerate(self.browsers)))
        answered = sum(browser.is_answered for browser in self.browsers)
        return web.json_response({"answered": answered} | (self.found() if request.path.endswith("/found") else {}))

    def found(self) -> dict[str, Any]:
        """What the pages were shown since the last run began; times in milliseconds."""
        live_at = [at for browser in self.browsers for at in browser.live_at]
        return {
            "tokens": sum(len(browser.seen) for browser in self.browsers),
            "delays": sorted(delay for browser in self.browsers for delay in browser.delays),
            "lasted": max(live_at) - min(live_at) if live_at else 0,
        }


if __name__ == "__main__":
    if sys.argv[1] == "model":
        TalkingModel().serve_as_command()
    else:
        Crowd(address=sys.argv[2], people=json.loads(Path(sys.argv[3]).read_text())).serve_as_command()
