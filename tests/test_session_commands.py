"""Commands about conversations, said through the real pipeline: a new one, earlier ones, how it stands."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from unittest import mock

from gateway_app import inbox, lanes
from gateway_app.models import MemoryFlush, OutboundPart, Session, TranscriptMessage, Turn
from gateway_app.models.turn import TurnState
from gateway_app.sessions import own, titles
from gateway_app.sessions.source import ChatType
from gateway_app.turns import opening, runner
from gateway_app.turns.runner import run_session
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline
from tests.pipeline_case import expire_leases
from tests.session_case import SessionTestCase

GROUP: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP}
THREAD: dict[str, Any] = {**GROUP, "thread_id": "t"}


class NewTests(SessionTestCase):
    def test_a_new_conversation_knows_nothing_of_the_one_before_which_is_kept_with_its_flush(self) -> None:
        self.tell("one")
        old = self.present()
        (said,) = self.tell("/new")
        self.assertIn(f"`/resume {old.session_id}` goes back to it", said)
        self.tell("two")
        self.assertEqual(self.seen(), ["two"])
        old.refresh_from_db()
        self.assertEqual((old.end_reason, old.ended_by), ("session_reset", "ann"))
        self.assertEqual(self.present().parent, old)
        flush = MemoryFlush.objects.get()
        self.assertEqual(
            (flush.session, flush.honcho_session_key, flush.reason, flush.state, flush.attempts),
            (old, old.session_key, "session_reset", "waiting", 0),
        )
        self.assertEqual(TranscriptMessage.objects.filter(session=old).count(), 2)

    def test_what_waits_behind_it_is_said_in_the_new_conversation(self) -> None:
        self.assertEqual(len(self.tell("one", "/reset plans", "two")), 3)
        self.assertEqual(self.seen(), ["two"])
        self.assertEqual(self.present().title, "plans")

    def test_a_conversation_in_which_nothing_was_said_is_new_already(self) -> None:
        self.tell("one", "/new")
        present = self.present()
        self.assertEqual(
            self.tell("/new", "/new   tidy\n it "),
            [
                "This is a new conversation already: nothing has been said in it.",
                "This is a new conversation already: nothing has been said in it. It is called “tidy it”.",
            ],
        )
        self.assertEqual((self.present(), self.present().title), (present, "tidy it"))
        self.assertEqual(MemoryFlush.objects.count(), 1)

    def test_a_title_that_is_too_long_is_refused_and_nothing_happens(self) -> None:
        self.tell("one")
        for command in ("/new", "/title", "/branch"):
            (said,) = self.tell(f"{command} {'x' * 10_000}")
            self.assertEqual(said, "A title has at most 100 characters, and this one has 10,000.")
        self.assertEqual(Session.objects.count(), 1)
        self.assertEqual(titles.clean("a\0b\u202e c"), "a b c")

    def test_two_at_once_begin_one_conversation(self) -> None:
        self.tell("one")
        pipeline.accept("/new", "/new")

        async def ring_often() -> None:
            await asyncio.gather(*[run_session(pipeline.context(), http=http_session()) for _ in range(4)])
            await close_http_session()

        pipeline.run(ring_often())
        self.assertEqual(Session.objects.count(), 2)
        self.assertEqual(MemoryFlush.objects.count(), 1)

    def test_a_worker_that_dies_before_the_commit_leaves_all_of_it_to_the_next(self) -> None:
        self.tell("one")
        pipeline.accept("/new")
        with (
            mock.patch.object(runner, "close", side_effect=asyncio.CancelledError),
            mock.patch.object(runner, "give_up_early"),
            self.assertRaises(asyncio.CancelledError),
        ):
            self.answer()
        self.assertEqual((Session.objects.count(), MemoryFlush.objects.count()), (1, 0))
        expire_leases()
        self.answer()
        self.assertEqual((Session.objects.count(), MemoryFlush.objects.count()), (2, 1))
        self.assertEqual(len(self.platform.texts), 2)

    def test_a_worker_that_slept_over_it_rotates_nothing_when_it_wakes(self) -> None:
        # Seen to fail with `AND fence = %s` taken out of lanes.holding() and lanes.holding_or_releasing().
        self.tell("one")
        pipeline.accept("/new")
        sleeper = opening.claim_and_open(session_key=pipeline.context().session_key)
        expire_leases()
        successor = opening.claim_and_open(session_key=pipeline.context().session_key)
        assert sleeper and sleeper.invocation and successor
        call = runner.run_command(sleeper.invocation, context=sleeper.context, source=sleeper.source)
        outcome = runner.Outcome(state=TurnState.DONE, effect=pipeline.run(call))
        with self.assertRaises(lanes.LaneLost):
            runner.close(sleeper, outcome)
        self.assertEqual((Session.objects.count(), MemoryFlush.objects.count()), (1, 0))
        runner.close(successor, outcome)
        with self.assertRaises(lanes.LaneLost):
            runner.close(sleeper, outcome)
        self.assertEqual((Session.objects.count(), MemoryFlush.objects.count()), (2, 1))

    def test_a_commit_that_fails_leaves_the_conversation_as_it_was_and_the_next_try_begins_one(self) -> None:
        self.tell("one")
        pipeline.accept("/new")
        with mock.patch.object(runner, "close", side_effect=ZeroDivisionError), self.assertLogs("gateway_app"):
            self.answer()
        self.assertEqual((Session.objects.count(), MemoryFlush.objects.count()), (1, 0))
        self.answer()
        self.assertEqual((Session.objects.count(), MemoryFlush.objects.count()), (2, 1))


class TitleTests(SessionTestCase):
    def test_a_conversation_gets_a_title_and_tells_it(self) -> None:
        self.assertIn("has no title", self.tell("/title")[0])
        self.assertEqual(self.tell("/title  Trip to\nRome"), ["This conversation is called “Trip to Rome” now."])
        self.assertIn("is called “Trip to Rome”.", self.tell("/title")[0])
        self.assertEqual(self.present().title, "Trip to Rome")


class ResumeTests(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        for title in ("rome", "Oslo"):
            self.tell(f"about {title}", f"/title {title}", "/new")
        self.rome, self.oslo, self.now = Session.objects.order_by("id")

    def test_the_list_is_newest_first_and_numbered(self) -> None:
        (said,) = self.tell("/sessions")
        lines = said.split("\n")
        self.assertRegex(lines[0], rf"^1\. begun .* UTC, `{self.now.session_id}` ← you are here$")
        self.assertRegex(lines[1], rf"^2\. “Oslo”, begun .* UTC, `{self.oslo.session_id}`$")
        self.assertRegex(lines[2], rf"^3\. “rome”, begun .* UTC, `{self.rome.session_id}`$")
        self.assertEqual(lines[3:], ["", "`/resume <number>` goes back to one."])

    def test_a_list_that_is_long_has_pages(self) -> None:
        with mock.patch.object(own, "PAGE", 2):
            first, second, third, wrong = self.tell("/sessions", "/sessions 2", "/sessions 3", "/sessions all")
        self.assertIn("`/sessions 2` lists older ones.", first)
        self.assertEqual([line[:2] for line in second.split("\n")[:1]], ["3."])
        self.assertNotIn("older", second)
        self.assertIn("There is no page 3.", third)
        self.assertIn("`/sessions 2` the next page", wrong)

    def test_a_conversation_is_gone_back_to_by_number_title_or_id(self) -> None:
        for wanted in ("3", "ROME", "ro", self.rome.session_id):
            with self.subTest(wanted):
                (said,) = self.tell(f"/resume {wanted}")
                self.assertIn("You are back in “rome”", said)
                self.assertEqual(self.present(), self.rome)
                self.tell(f"/resume {self.now.session_id}")
        self.tell("/resume 3", "and now?")
        self.assertEqual(self.seen(), ["about rome", "echo: about rome", "and now?"])
        self.rome.refresh_from_db()
        self.assertEqual((self.rome.end_reason, self.rome.ended_by), ("", ""))
        self.now.refresh_from_db()
        self.assertEqual((self.now.end_reason, self.now.ended_by), ("session_switch", "ann"))

    def test_the_one_that_is_left_is_flushed_once_while_its_flush_waits(self) -> None:
        self.tell("/resume oslo", f"/resume {self.now.session_id}", "/resume oslo")
        flushes = MemoryFlush.objects.order_by("id").values_list("session", "reason")
        self.assertEqual(
            list(flushes),
            [
                (self.rome.pk, "session_reset"),
                (self.oslo.pk, "session_reset"),
                (self.now.pk, "session_switch"),
            ],
        )
        MemoryFlush.objects.update(state="done")
        self.tell(f"/resume {self.now.session_id}")
        self.assertEqual(MemoryFlush.objects.filter(session=self.oslo).count(), 2)

    def test_what_is_not_there_is_said_and_changes_nothing(self) -> None:
        for wanted in ("7", "0", "paris", "`x`\n" + "y" * 10_000, "%", "١"):
            with self.subTest(wanted[:10]):
                (said,) = self.tell(f"/resume {wanted}")
                self.assertIn("You have no conversation", said)
                self.assertLess(len(said), 250)
        self.assertIn("already", self.tell("/resume 1")[0])
        self.assertEqual(self.present(), self.now)

    def test_a_title_of_several_is_asked_about(self) -> None:
        self.tell("about rome again", "/title Rome", "/new")
        (said,) = self.tell("/resume rome")
        self.assertIn("Several conversations are called so", said)
        self.assertIn(self.rome.session_id, said)
        self.assertNotEqual(self.present(), self.rome)

    def test_without_an_argument_the_list_is_shown(self) -> None:
        self.assertEqual(*self.tell("/resume", "/sessions"))

    def test_nobody_elses_conversation_is_found_by_its_id_or_title(self) -> None:
        # Seen to fail with the filter taken out of own._of_key().
        for place in ({"user": "bob"}, {"user": "ann", **GROUP}):
            for wanted in (self.rome.session_id, "rome", "2", "3"):
                (said,) = self.tell(f"/resume {wanted}", **place)
                self.assertIn("You have no conversation", said)
            (said,) = self.tell("/sessions", **place)
            self.assertNotIn("rome", said)
        self.assertEqual(self.present(), self.now)

    def test_in_a_shared_thread_its_people_share_its_conversations(self) -> None:
        self.tell("hi", "/title ours", "/new", user="ann", **THREAD)
        (said,) = self.tell("/resume ours", user="bob", **THREAD)
        self.assertIn("You are back in “ours”", said)


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
            self.assertRegex(said, rf"/{name}\b")


class RoadTests(SessionTestCase):
    def test_a_reply_is_posted_once_with_what_it_speaks_of(self) -> None:
        self.tell("one")
        inbox.accept([pipeline.event("/new"), pipeline.event("/sessions")])
        self.answer()
        self.assertEqual(OutboundPart.objects.count(), 3)
        self.assertEqual(lanes.due(limit=10), [])
