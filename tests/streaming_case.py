"""The test case of streaming: turns of a chat on the Telegram peer, whose answers are written slowly."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

from django.db import connections
from django.test import override_settings

from gateway_app import channels, inbox
from gateway_app.access import people
from gateway_app.models import Turn
from gateway_app.platforms.base import InboundEvent
from gateway_app.sessions.routing import context_of
from gateway_app.sessions.source import ChatType, SessionContext, SessionSource
from gateway_app.turns import bubble
from gateway_app.turns.runner import run_session
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline
from tests.agent_case import AgentCase
from tests.configuration import configured, open_to_all
from tests.peers.telegram import TOKEN, TelegramPeer

ACCOUNT = TOKEN.partition(":")[0]
CHAT = 501
STORY = "Once upon a time there was a fox who wrote long letters to the moon. "
QUICK = {"edit_interval": 0.05, "edits_per_second": 1000, "enabled": "on"}

_numbers = itertools.count(1)


def source() -> SessionSource:
    return SessionSource(
        platform="telegram",
        account=ACCOUNT,
        chat_id=str(CHAT),
        chat_type=ChatType.DM,
        user_id=str(CHAT),
        user_name="Ann",
    )


class StreamingCase(AgentCase):
    """Previews of 50 ms; `self.peer` is Telegram, where Ann has written."""

    def setUp(self) -> None:
        super().setUp()
        self.peer = TelegramPeer()
        self.enterContext(self.peer)
        self.peer.push_text("hi", chat_id=CHAT)
        self.enterContext(
            override_settings(
                TELEGRAM_BOT_TOKEN=TOKEN,
                TELEGRAM_BASE_URL=self.peer.url,
                SEND_TIMEOUT_SECONDS=5,
                DELIVERY_BACKOFF_SECONDS=0.01,
            )
        )
        self.enterContext(open_to_all("telegram"))
        self.enterContext(configured(streaming=QUICK))
        self.addCleanup(channels._known.clear)
        self.addCleanup(people._known.clear)
        self.addCleanup(bubble._paused_until.clear)

    def ask(self, text: str) -> None:
        number = next(_numbers)
        inbox.accept([InboundEvent(event_id=f"u{number}", source=source(), text=text, message_id="1")])

    def context(self) -> SessionContext:
        return context_of(source(), session_id="")

    def write(self, answer: str = STORY * 4, **behaviour: Any) -> None:
        """The next answer of the model, in pieces of eight characters."""
        self.model.script.add(answer=answer.strip(), **{"piece_delay": 0.02, **behaviour})

    def answer_chat(self, *meanwhile: Callable[[], object]) -> None:
        """One ring of the chat's session. Each of `meanwhile` is done in its order while it is under way."""

        async def ring() -> None:
            task = asyncio.create_task(run_session(self.context(), http=http_session()))
            try:
                for act in meanwhile:
                    await asyncio.to_thread(closing(act))
                await task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await close_http_session()

        pipeline.run(ring())

    def until_shown(self, words: str = "", *, place: int = 0) -> Callable[[], None]:
        """Returns when the chat's message at this place has these words."""

        def wait() -> None:
            once(lambda: len(found := self.peer.messages(chat_id=CHAT)) > place and words in found[place]["shown"])

        return wait

    def history(self, place: int = 0) -> list[str]:
        """What the message showed, one after the other."""
        message = self.peer.messages(chat_id=CHAT)[place]
        return [*message["history"], message["shown"]]

    def turn(self) -> Turn:
        return Turn.objects.latest("id")


def closing(act: Callable[[], object]) -> Callable[[], None]:
    """`act` in a thread that leaves no connection behind."""

    def run() -> None:
        try:
            act()
        finally:
            connections.close_all()

    return run


def once(condition: Callable[[], object], *, seconds: float = 10) -> None:
    """Returns when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it never happened")
        time.sleep(0.005)
