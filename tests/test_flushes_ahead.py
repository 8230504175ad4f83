"""Flushes of memory ahead of the clock, and how long rows of those that are done are kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway_app import tasks
from gateway_app.models import MemoryFlush, Session, TranscriptMessage
from gateway_app.sessions import flushes
from gateway_app.sessions.source import ChatType
from tests import pipeline
from tests.configuration import configured
from tests.flush_case import FlushTestCase

SHARED: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP, "thread_id": "t"}
IDLE = configured(session_reset={"mode": "idle", "idle_minutes": 60})


class AheadTests(FlushTestCase):
    def look(self) -> None:
        with IDLE, configured(memory={"flush_ahead_seconds": 600}):
            pipeline.run(tasks.end_sessions.run())

    def test_a_session_that_the_clock_ends_soon_is_flushed_before_and_only_once(self) -> None:
        self.tell("I live in Oslo")
        self.tell("and I like tea")
        self.age(minutes=45)
        self.look()
        self.assertFalse(MemoryFlush.objects.exists())
        self.age(minutes=6)
        self.look()
        self.look()
        self.assertEqual(MemoryFlush.objects.get().reason, "expires_soon")
        self.saves("lives in Oslo")
        self.flush()
        self.look()
        self.assertEqual(self.states(), [("done", "saved")])
        self.age(minutes=20)
        self.look()
        self.flush()
        self.assertEqual(self.states(), [("done", "saved"), ("done", "nothing_new")])
        self.assertEqual(Session.objects.get(ended_at__isnull=False).end_reason, "idle")
        self.assertEqual(self.notes(), [("recording::ann", "lives in Oslo")])

    def test_what_was_said_since_is_flushed_when_it_ends(self) -> None:
        for text in ("I live in Oslo", "and I like tea"):
            self.tell(text)
        self.age(minutes=51)
        self.look()
        self.flush()
        self.tell("and I have a cat")
        self.age(minutes=61)
        self.look()
        self.flush()
        self.assertEqual(self.states(), [("done", "saved"), ("done", "saved")])
        self.assertEqual(
            [each["content"] for each in self.flush_requests()[-1][1:-1]],
            ["and I have a cat", "echo: and I have a cat"],
        )

    def test_one_that_was_given_up_ahead_is_not_asked_for_again_before_the_end(self) -> None:
        for text in ("one", "two"):
            self.tell(text)
        self.age(minutes=51)
        self.look()
        MemoryFlush.objects.update(state="failed", last_message=TranscriptMessage.objects.latest("id").pk)
        self.look()
        self.assertEqual(MemoryFlush.objects.count(), 1)
        self.age(minutes=20)
        self.look()
        self.assertEqual(MemoryFlush.objects.count(), 2)

    def test_a_session_with_a_message_that_waits_or_runs_is_not_flushed_ahead(self) -> None:
        for text in ("one", "two"):
            self.tell(text)
        self.age(minutes=51)
        pipeline.accept("three")
        self.look()
        self.assertFalse(MemoryFlush.objects.exists())


class RetentionTests(FlushTestCase):
    def test_flushes_that_were_done_long_ago_are_let_go_of_and_those_that_were_given_up_stay(self) -> None:
        for user in ("ann", "bob", "cy"):
            self.put_aside("hello", user=user)
        self.flush()
        first, second, third = MemoryFlush.objects.order_by("id")
        MemoryFlush.objects.filter(pk__in=[first.pk, second.pk]).update(
            finished_at=first.finished_at - timedelta(days=40)
        )
        MemoryFlush.objects.filter(pk=second.pk).update(state="failed")
        self.assertEqual(flushes.prune(), 1)
        self.assertEqual(list(MemoryFlush.objects.order_by("id")), [second, third])
