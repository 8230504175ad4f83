"""A Telegram peer that is also the crowd: it writes in many chats and measures how long each answer takes.

`POST /_/run` starts a run, `GET /_/run` tells how it goes. A chat writes its next message when it has its answer
(`pace` 0), or all chats together write `pace` messages a second.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.peers.telegram import TelegramPeer

FIRST_CHAT = 1_000_000


@dataclass
class Run:
    """One measurement. Times are in seconds."""

    chats: int
    seconds: float
    pace: float = 0.0
    each: int = 0
    """Messages that each chat writes; 0: as many as fit into `seconds`."""
    again: bool = False
    """In the chats of the run before."""
    started: float = field(default_factory=time.monotonic)
    asked: dict[int, tuple[float, str]] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    wrong: int = 0
    """Answers that are not the expected one: lost, doubled, crossed or out of order."""
    last_answer: float = 0.0

    def is_over(self) -> bool:
        return time.monotonic() - self.started > self.seconds

    def as_json(self) -> dict[str, Any]:
        return {
            "answered": len(self.latencies),
            "waiting": len(self.asked),
            "wrong": self.wrong,
            "is_over": self.is_over(),
            "took": self.last_answer - self.started,
            "latencies": self.latencies,
        }


class LoadPeer(TelegramPeer):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.run: Run | None = None
        self._number = 0
        self._next_chat = FIRST_CHAT
        self._first_chat = FIRST_CHAT

    async def _control(self, request: web.BaseRequest, what: str) -> web.Response:
        if what != "run":
            return await super()._control(request, what)
        if request.method == "POST":
            self._begin(**await request.json())
        assert self.run
        return web.json_response(self.run.as_json())

    def _begin(self, **fields: Any) -> None:
        self.run = run = Run(**fields)
        if not run.again:
            self._first_chat, self._next_chat = self._next_chat, self._next_chat + run.chats
        with self._lock:
            self._chats.messages.clear()
            self._calls.clear()
        if run.pace:
            self.pacing = asyncio.create_task(self._pace(run))
            return
        for chat in range(self._first_chat, self._next_chat):
            self._ask(run, chat)

    async def _pace(self, run: Run) -> None:
        number = 0
        while not run.is_over():
            chat = self._first_chat + number % run.chats
            if chat not in run.asked:
                self._ask(run, chat)
            number += 1
            await asyncio.sleep(max(0.0, run.started + number / run.pace - time.monotonic()))

    def _ask(self, run: Run, chat: int) -> None:
        self._number += 1
        text = f"message {self._number} of chat {chat}"
        run.asked[chat] = (time.monotonic(), text)
        run.counts[chat] = run.counts.get(chat, 0) + 1
        self.push_text(text, chat_id=chat, user_id=chat)

    async def _sendMessage(self, parameters: dict[str, Any]) -> bytes:
        answer = await super()._sendMessage(parameters)
        run, chat = self.run, int(parameters["chat_id"])
        if run and chat >= self._first_chat:
            asked_at, text = run.asked.pop(chat, (0.0, ""))
            if parameters["text"] != f"echo: {text}":
                run.wrong += 1
            run.last_answer = time.monotonic()
            run.latencies.append(run.last_answer - asked_at)
            goes_on = run.counts.get(chat, 0) < run.each if run.each else not run.is_over()
            if goes_on and not run.pace:
                self._ask(run, chat)
        return answer


if __name__ == "__main__":
    LoadPeer().serve_as_command()
