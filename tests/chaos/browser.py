"""People at the web chat: each has a browser that posts until it is told 202 and follows the page's events."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from typing import Any

from tests.chaos.fleet import PATIENCE, Fleet
from tests.chaos.traffic import Chat, Traffic

Failure = (OSError, http.client.HTTPException)
"""What a web process that dies in the middle looks like from outside."""
RETRY_SECONDS = 0.1


class Browser:
    """One signed-in person with one open conversation."""

    def __init__(self, *, port: int, link: str) -> None:
        self._port = port
        self._cookies: dict[str, str] = {}
        self._closing = threading.Event()
        self._socket: socket.socket | None = None
        self._cursor = ""
        self.answers: dict[str, str] = {}
        """Texts of the agent by the item's id, in the order they were shown first."""
        self.rewritten = 0
        """Items that were shown again with another text."""
        self.connections = 0
        """How often the events were connected to."""
        self.retries = 0
        """Posts that had to be made again."""
        path = "/" + link.split("/", 3)[3]
        while not path.startswith("/chat/") or path == "/chat/":
            status, location, _ = self._request("GET", path)
            if status != 302:
                raise AssertionError(f"signing in led to {path}, which answered {status}")
            path = location
        self._request("GET", path)  # the page, which sets the cookie that posts need
        self._path = path
        self._reader = threading.Thread(target=self._follow, name="browser", daemon=True)
        self._reader.start()

    def post(self, text: str) -> None:
        """Sends a message under one id until the server says that it is kept."""
        body = json.dumps({"id": uuid.uuid4().hex, "text": text}).encode()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                status, _, answer = self._request("POST", self._path + "post", body)
            except Failure as error:
                status, answer = 0, repr(error)
            if status == 202:
                return
            if 400 <= status < 500 or time.monotonic() > deadline:
                raise AssertionError(f"a post was answered with {status}: {answer[:300]}")
            self.retries += 1
            time.sleep(RETRY_SECONDS)

    def close(self) -> None:
        self._closing.set()
        if self._socket:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()

    def _follow(self) -> None:
        while not self._closing.is_set():
            try:
                for name, data in self._events():
                    if name == "update":
                        self._show(data["items"])
            except Failure:
                pass
            self._closing.wait(RETRY_SECONDS)

    def _show(self, items: list[dict[str, Any]]) -> None:
        for item in items:
            if item["from"] == "agent":
                self.rewritten += self.answers.get(item["id"], item["text"]) != item["text"]
                self.answers[item["id"]] = item["text"]

    def _events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events, from the cursor on, until the connection ends."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        connection.connect()
        self._socket = connection.sock
        connection.request("GET", self._path + "events", headers=self._headers() | {"Last-Event-ID": self._cursor})
        response = connection.getresponse()
        if response.status != 200 or self._closing.is_set():
            connection.close()
            return
        self.connections += 1
        event: dict[str, str] = {}
        for line in response:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field:
                event[field] = value
            elif event:
                if "event" in event:
                    self._cursor = event.get("id", self._cursor)
                    yield event["event"], json.loads(event["data"])
                event = {}

    def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str, str]:
        """Status, location and text of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path, body, self._headers())
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            for header in response.headers.get_all("Set-Cookie", []):
                self._cookies |= {name: morsel.value for name, morsel in SimpleCookie(header).items()}
            return response.status, response.headers.get("Location", ""), text
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        return {
            "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
            "X-CSRFToken": self._cookies.get("csrftoken", ""),
            "Content-Type": "application/json",
        }


class WebTraffic(Traffic):
    """People who write in the web chat. `with WebTraffic(fleet)`: their pages are open within the block."""

    platform = "webchat"

    def __init__(self, fleet: Fleet, *, chats: int = 3) -> None:
        self._links = dict(fleet.take_people(chats))
        super().__init__(fleet, chats=chats)
        self.browsers = {chat.name: Browser(port=fleet.web_port, link=self._links[chat.name]) for chat in self.chats}

    def __enter__(self) -> WebTraffic:
        return self

    def __exit__(self, *_: object) -> None:
        for browser in self.browsers.values():
            browser.close()

    def _new_name(self, number: int) -> str:
        return list(self._links)[number]

    def write(self, *, rounds: int = 1, more: str = "") -> None:
        with ThreadPoolExecutor(len(self.chats)) as people:
            for done in [people.submit(self._write_rounds, [chat], rounds, more) for chat in self.chats]:
                done.result()

    def _write(self, chat: Chat, text: str) -> None:
        self.browsers[chat.name].post(text)

    def look(self) -> None:
        for chat in self.chats:
            chat.shown = list(self.browsers[chat.name].answers.values())
