"""What tests of the pipeline share: a platform that records what it is sent, and events for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any
from unittest import TestCase, mock

import aiohttp
from django.test import override_settings

from gateway_app import channels, inbox
from gateway_app.access import people
from gateway_app.models import InboundMessage, OutboundPart
from gateway_app.platforms import registry
from gateway_app.platforms.base import InboundEvent, OutgoingPart, Platform
from gateway_app.sessions.routing import context_of
from gateway_app.sessions.source import ChatType, SessionContext, SessionSource
from gateway_app.worker.database import close_database_threads
from tests.configuration import open_to_all

_event_ids = itertools.count(1)


class RecordingPlatform(Platform):
    """Takes every part and remembers it; `failures` are raised first, one for each send."""

    name = "recording"

    def __init__(self) -> None:
        self.sent: list[OutgoingPart] = []
        self.failures: list[Exception] = []
        self.before_send: Callable[[OutgoingPart], Coroutine[Any, Any, None]] | None = None

    def split(self, text: str) -> list[str]:
        return [text[start : start + 1000] for start in range(0, len(text), 1000)]

    async def send(self, part: OutgoingPart, *, http: aiohttp.ClientSession) -> str:
        if self.before_send:
            await self.before_send(part)
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(part)
        return f"message-{len(self.sent)}"

    @property
    def texts(self) -> list[str]:
        return [part.text for part in self.sent]


def use_recording_platform(test: TestCase) -> RecordingPlatform:
    """Registers a `RecordingPlatform` for the test, open to everybody, and cleans up after it."""
    platform = RecordingPlatform()
    get = registry.get

    def found(name: str) -> Platform:
        return platform if name == platform.name else get(name)

    patch = mock.patch.object(registry, "get", found)
    patch.start()
    test.addCleanup(patch.stop)
    for changed in (override_settings(DELIVERY_BACKOFF_SECONDS=0.01), open_to_all("recording")):
        changed.enable()
        test.addCleanup(changed.disable)
    test.addCleanup(channels._known.clear)
    test.addCleanup(people._known.clear)
    return platform


def source(user: str = "ann", **values: Any) -> SessionSource:
    """A direct message of `user` unless `values` say otherwise."""
    defaults: dict[str, Any] = {"chat_id": f"chat-{user}", "chat_type": ChatType.DM, "user_name": user.title()}
    return SessionSource(platform="recording", user_id=user, **defaults | values)


def event(text: str, *, user: str = "ann", event_id: str = "", **values: Any) -> InboundEvent:
    number = next(_event_ids)
    return InboundEvent(
        event_id=event_id or f"event-{number}", source=source(user, **values), text=text, message_id=f"message-{number}"
    )


def context(user: str = "ann", **values: Any) -> SessionContext:
    return context_of(source(user, **values), session_id="")


def accept(*texts: str, user: str = "ann") -> inbox.Accepted:
    return inbox.accept([event(text, user=user) for text in texts])


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine of the pipeline to its end, and closes the database threads that it used."""
    try:
        return asyncio.run(coroutine)
    finally:
        close_database_threads()


def inbound_states() -> list[str]:
    return list(InboundMessage.objects.order_by("seq").values_list("state", flat=True))


def outbound_states() -> list[str]:
    return list(OutboundPart.objects.order_by("seq").values_list("state", flat=True))
