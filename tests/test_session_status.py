"""`/status` and `/usage`: how a conversation stands, and what it and its people have used."""

from __future__ import annotations

import re
from typing import Any

from gateway_app.models import Turn
from gateway_app.sessions.source import ChatType
from tests.session_case import SessionTestCase

THREAD: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP, "thread_id": "t"}


class StatusTests(SessionTestCase):
    def test_status_tells_how_the_conversation_stands(self) -> None:
        self.tell("one")
        self.tell("two")
        self.tell("/undo", "/title plans")
        (said, *_) = self.tell("/status", "later")
        session, turns = self.present(), Turn.objects.exclude(model="").order_by("id")[:2]
        tokens = [sum(getattr(turn, f"{kind}_tokens") for turn in turns) for kind in ("prompt", "completion")]
        self.assertEqual(
            re.sub(r"Since: .*", "Since: then", said),
            f"- Session: `{session.session_id}`\n- Title: “plans”\n- Since: then\n"
            "- Messages: 2, and 2 taken back\n- Running: no; 1 waiting\n"
            f"- Model: `{turns[0].model}`\n- Tokens: {tokens[0]:,} read, {tokens[1]:,} written in 2 turns",
        )

    def test_usage_counts_the_conversation_and_the_day_of_the_person_and_of_nobody_else(self) -> None:
        # Seen to fail with the filter on user_id taken out of today_of_person().
        for text in ("one", "/new", "two", "three"):
            self.tell(text)
        self.tell("of bob", user="bob")
        (said,) = self.tell("/usage")
        self.assertRegex(said, r"^- This conversation: 2 turns, [\d,]+ tokens read, \d+ written\n")
        self.assertRegex(said, r"- You today, in all your conversations: 3 turns, ")

    def test_usage_in_a_group_tells_nothing_of_elsewhere(self) -> None:
        self.tell("one")
        self.tell("hi", user="ann", **THREAD)
        self.tell("hi", user="bob", **THREAD)
        (said,) = self.tell("/usage", user="ann", **THREAD)
        self.assertIn("This conversation: 2 turns", said)
        self.assertIn("You here today: 1 turn,", said)

    def test_yesterday_does_not_count_as_today(self) -> None:
        self.tell("one")
        Turn.objects.update(started_at="2020-01-01T00:00:00Z")
        self.assertIn("in all your conversations: 0 turns", self.tell("/usage")[0])

    def test_help_lists_them(self) -> None:
        said = "\n".join(self.tell("/help"))
        for name in ("new", "title", "sessions", "resume", "undo", "redo", "retry", "branch", "status", "usage"):
            self.assertIn(f"- /{name} ", said)
