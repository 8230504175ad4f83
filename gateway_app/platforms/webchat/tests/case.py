"""What the web chat's tests share: two people, one of whom may speak to the agent, and rows as workers write them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any
from unittest import mock

from django.contrib.auth.models import User
from django.db import transaction
from django.test import TransactionTestCase

from gateway_app import channels
from gateway_app.access import people
from gateway_app.delivery import outbox
from gateway_app.models import MediaFile, WebConversation
from gateway_app.models.turn import TurnState
from gateway_app.platforms.webchat import conversations, stream, views
from gateway_app.platforms.webchat.hub import hub
from gateway_app.platforms.webchat.stream import close_publisher
from gateway_app.sessions.key import session_key
from gateway_app.turns.closing import Outcome, close
from gateway_app.turns.opening import OpenTurn, claim_and_open
from gateway_app.worker.database import close_database_threads
from tests.configuration import configured

PATIENCE_SECONDS = 10.0
"""The longest a test waits for something that must happen."""


class WebchatCase(TransactionTestCase):
    """`self.ann` may speak to the agent and has a conversation; `self.bob` may not and has one as well."""

    def setUp(self) -> None:
        self.ann = User.objects.create_user("ann", password="correct horse")
        self.bob = User.objects.create_user("bob", password="battery staple")
        self.chat = conversations.start(self.ann).chat_id
        self.bobs_chat = conversations.start(self.bob).chat_id
        allowed = configured(access={"platforms": {"webchat": {"allowed_users": ("ann",)}}})
        allowed.enable()
        self.addCleanup(allowed.disable)
        self.addCleanup(channels._known.clear)
        self.addCleanup(people._known.clear)
        self.addCleanup(close_database_threads)
        ring = mock.patch.object(views.doorbell, "ring")
        self.ring = ring.start()
        self.addCleanup(ring.stop)

    def write(self, text: str, *, client_id: str = "") -> conversations.Posted:
        """Ann writes in her conversation."""
        client_id = client_id or f"client-{text}".replace(" ", "-")[:64]
        return conversations.post(self.ann, self.chat, client_id=client_id, text=text)

    def open_turn(self) -> OpenTurn:
        """A worker takes what waits in Ann's conversation."""
        conversation = WebConversation.objects.get(chat_id=self.chat)
        turn = claim_and_open(session_key=session_key(conversations.source_of(self.ann, conversation)))
        assert turn is not None
        return turn

    def close_turn(
        self, turn: OpenTurn, reply: str, *, state: TurnState = TurnState.DONE, files: Sequence[MediaFile] = ()
    ) -> None:
        """The worker commits its reply."""
        close(turn, Outcome(state=state, reply=reply, files=files, said=[{"role": "assistant", "content": reply}]))

    def answer(self, reply: str) -> None:
        self.close_turn(self.open_turn(), reply)
        time.sleep(0.002)  # SQLite's clock counts milliseconds, and people write later than that

    def send(self, text: str, *, key: str) -> None:
        """The agent says something unasked."""
        with transaction.atomic():
            outbox.enqueue(outbox.Draft(key=key, platform="webchat", account="", chat_id=self.chat, text=text))


@contextlib.asynccontextmanager
async def web_process() -> AsyncIterator[None]:
    """What belongs to the event loop is closed at the block's end, as the web process does when it stops."""
    try:
        yield
    finally:
        hub().stop()
        await close_publisher()


class Events:
    """Reads server-sent events from an iterator of bytes."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._text = ""
        self.last_id = ""

    async def next(self, name: str = "") -> dict[str, Any]:
        """The data of the next event, or of the next one called `name`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                while "\n\n" not in self._text:
                    self._text += (await anext(self._source)).decode()
                block, _, self._text = self._text.partition("\n\n")
                fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
                self.last_id = fields.get("id", self.last_id)
                if "event" in fields and name in ("", fields["event"]):
                    return {"event": fields["event"], **json.loads(fields["data"])}

    async def texts(self, count: int) -> list[str]:
        """The texts of the next `count` messages."""
        found: list[str] = []
        while len(found) < count:
            found += [item["text"] for item in (await self.next("update"))["items"]]
        return found

    async def close(self) -> None:
        await self._source.aclose()  # type: ignore[attr-defined]


async def until(holds: Any) -> None:
    """Returns when `holds()` is true."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


def ring(chat_id: str) -> None:
    """What a worker does when it has sent a part."""
    stream.publisher().put(stream.key(chat_id), stream.CHANGED)
