"""Memory for one message in several workers at once: Honcho is asked once, and all have it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from gateway_app import inbox
from gateway_app.sessions.source import ChatType
from gateway_app.worker.database import close_database_threads
from honcho_app import configuration, recall, recall_cache
from honcho_app.models import Recall
from honcho_app.recall_cache import Place
from tests import pipeline
from tests.isolation import Workers
from tests.recall_case import RecallTestCase
from tests.test_lanes import at_once

WORKERS = 4
PEOPLE = [f"person{number}" for number in range(10)]
THREAD: dict[str, Any] = {"chat_id": "-100", "chat_type": ChatType.THREAD, "thread_id": "7"}
SECRET = re.compile(r"secret of (\w+)")


class WorkersTests(RecallTestCase):
    """A loop in a thread stands for a worker: what they share is the database."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(close_database_threads)
        self.know("likes roses")
        self.context = pipeline.context()
        self.place = Place(self.context.honcho_session_key, self.name(), "session", 1)

    async def wait(self, place: Place, *, seconds: float = 20) -> str | None:
        return await recall._fetched_within(seconds, place, self.context, configuration.live())

    def test_one_of_them_asks_and_all_have_the_answer(self) -> None:
        found: list[str | None] = []
        self.honcho.fault("late", operation="context", seconds=0.3)
        at_once(*[lambda: found.append(asyncio.run(self.wait(self.place)))] * WORKERS)
        self.assertEqual(len(found), WORKERS)
        self.assertEqual(set(found), {"Facts about the person:\n- likes roses"})
        self.assertEqual(len(self.fetches()), 1)

    def test_one_that_died_is_not_waited_for_longer_than_its_lease(self) -> None:
        # Its worker was killed: nobody will ever keep what it fetches.
        recall_cache.begin(self.place, seconds=0.3)
        first = asyncio.run(self.wait(self.place))
        second = asyncio.run(self.wait(self.place))
        self.assertEqual((first, second), (None, "Facts about the person:\n- likes roses"))

    def test_those_of_several_sessions_each_get_their_own(self) -> None:
        # One after the other on one row: whichever writes last, the newest session's is what stays.
        places = [self.place._replace(session_id=f"session {turn}", turn_id=turn) for turn in range(1, WORKERS + 1)]
        self.honcho.fault("late", operation="context", seconds=0.2)
        at_once(*(lambda place=place: asyncio.run(self.wait(place)) for place in places))
        row = Recall.objects.get()
        self.assertEqual((row.session_id, row.turn), (f"session {WORKERS}", WORKERS))
        self.assertIn("likes roses", row.text)


class CrowdTests(RecallTestCase):
    """Many people write at once, each to several workers, alone and in one thread that they share."""

    def setUp(self) -> None:
        super().setUp()
        self.workers = Workers(3)
        self.addCleanup(close_database_threads)
        self.addCleanup(self.workers.close)

    def test_each_message_has_the_memory_of_whoever_wrote_it_and_of_nobody_else(self) -> None:
        for user in PEOPLE:
            self.know(f"secret of {user}", user=user)
        for number in range(3):
            for place in ({}, THREAD):
                events = [pipeline.event(f"{number} by {user} ", user=user, **place) for user in PEOPLE]
                inbox.accept(events)
            for ring in self.workers.ring([{"user": user} for user in PEOPLE] + [{"user": PEOPLE[0], **THREAD}]):
                ring.result(60)
        shown = 0
        for request in self.model.requests:
            *_, asked = [each["content"] for each in request["body"]["messages"] if each["role"] == "user"]
            (writer,) = set(re.findall(r"by (\w+) ", asked))
            found = set(SECRET.findall(asked))
            # In the thread others read along, and nothing was said there yet that Honcho made anything of.
            self.assertEqual(found, set() if asked.startswith("[") else {writer})
            shown += len(found)
        self.assertEqual(shown, 3 * len(PEOPLE))
        self.assertEqual(len(self.model.requests), 6 * len(PEOPLE))
