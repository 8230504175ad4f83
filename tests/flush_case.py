"""The test case of flushes: conversations that are put aside, and what is then done about what is worth remembering."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F

from gateway_app import tasks
from gateway_app.models import MemoryFlush, MemoryNote
from gateway_app.worker.http import close_http_session
from tests import pipeline
from tests.agent_case import calls
from tests.session_case import SessionTestCase

ASKED = "this conversation is put aside now"
"""In the request of a flush, and in no other."""


class FlushTestCase(SessionTestCase):
    def put_aside(self, *texts: str, user: str = "ann", **place: Any) -> None:
        """A conversation of two exchanges, unless `texts` say otherwise, that its person leaves."""
        for text in texts or ("I live in Oslo", "and I like tea"):
            self.tell(text, user=user, **place)
        self.tell("/new", user=user, **place)

    def saves(self, *texts: str, **behaviour: Any) -> None:
        """Has the model note these down in each flush, in one reply."""
        wanted = calls(*(("memory", {"text": text}) for text in texts))
        self.model.script.add(contains=ASKED, times=None, tool_calls=wanted, rounds=1, answer="done", **behaviour)

    def flush(self) -> None:
        """Does what one ring for flushes does."""

        async def ring() -> None:
            try:
                await tasks.flush_memory.run()
            finally:
                await close_http_session()

        pipeline.run(ring())

    def states(self) -> list[tuple[str, str]]:
        return list(MemoryFlush.objects.order_by("id").values_list("state", "outcome"))

    def notes(self) -> list[tuple[str, str]]:
        return list(MemoryNote.objects.order_by("owner", "place").values_list("owner", "text"))

    def flush_requests(self) -> list[list[dict[str, Any]]]:
        """The messages of each model call of a flush."""
        found = [request["body"]["messages"] for request in self.model.requests]
        return [messages for messages in found if any(ASKED in str(message["content"]) for message in messages)]

    def flushed_with(self) -> str:
        """What the agent of the newest flush was asked."""
        return next(each["content"] for each in self.flush_requests()[-1] if ASKED in each["content"])


def let_leases_end() -> None:
    """Ends the lease of every flush, and the waits of those that are tried again."""
    span = timedelta(hours=1)
    MemoryFlush.objects.update(lease_until=F("lease_until") - span, next_attempt_at=F("next_attempt_at") - span)
