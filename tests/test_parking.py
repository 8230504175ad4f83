"""Turns that wait, when workers die and when several answers come at once: each call runs once, or not at all."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

from django.db import connection, transaction
from django.test import skipUnlessDBFeature

from gateway_app import clock, lanes
from gateway_app.models import AuditEntry, Lane, OutboundPart, Question, ToolPermission, Turn, TurnStep
from gateway_app.models.lane import LaneKind
from gateway_app.questions import answering, deciding, permissions, pressing
from gateway_app.sessions.source import ChatType
from gateway_app.turns import journal, runner
from tests import pipeline
from tests.agent_case import calls
from tests.configuration import configured
from tests.pipeline_case import Killed, expire_leases
from tests.question_case import QuestionCase

GROUP: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP, "thread_id": "t"}


class KilledTests(QuestionCase):
    """Kills the worker before and after each commit that a parked turn makes, and counts what was done twice."""

    POINTS = ((journal, "record"), (runner, "park"), (deciding, "audit"), (runner, "close"))

    def dying(self, where: tuple[Any, str], *, at: int, before: bool) -> Any:
        """Dies at the nth call of a function, before it or right after."""
        function, made = getattr(*where), 0

        def die(*args: Any, **kwargs: Any) -> Any:
            nonlocal made
            made += 1
            if before and made == at:
                raise Killed
            result = function(*args, **kwargs)
            if made == at:
                raise Killed
            return result

        return mock.patch.object(*where, die)

    def work(self, name: str, args: dict[str, Any], seconds: float = 0) -> Any:
        return super().work(name, args, 0)

    def go_through(self, *, where: tuple[Any, str], at: int, before: bool) -> bool:
        """A message, two approvals, the answer, with one death on the way; whether it came to that."""
        self.runs.clear()
        self.model.script.set()
        self.model.script.add(tool_calls=calls("look", "pay", "send"))
        pipeline.accept("go")
        died = False
        for step in (None, "/approve all", None):
            if step:
                pipeline.accept(step)
            with self.dying(where, at=at, before=before) if not died else contextlib.nullcontext():
                try:
                    self.answer()
                except Killed:
                    died = True
                    expire_leases()
                    if not TurnStep.objects.filter(turn=Turn.objects.latest("id")).exists():
                        self.model.script.add(tool_calls=calls("look", "pay", "send"))  # a reply that nobody has
            if died and Turn.objects.latest("id").state == "running":
                self.answer()
        self.answer()
        return died

    @configured(compression={"enabled": False})
    def test_whenever_the_worker_dies_the_turn_goes_on_and_nothing_runs_twice(self) -> None:
        deaths = 0
        for where in self.POINTS:
            for before in (True, False):
                for at in range(1, 5):
                    audited = AuditEntry.objects.count()
                    if not self.go_through(where=where, at=at, before=before):
                        break
                    deaths += 1
                    with self.subTest(where=where[1], at=at, before=before):
                        turn = Turn.objects.latest("id")
                        results = TurnStep.objects.filter(turn=turn, kind="tool_result")
                        contents = {step.payload["tool_call_id"]: step.payload["content"] for step in results}
                        self.assertEqual(len(contents), results.count())
                        self.assertEqual((turn.state, len(contents)), ("done", 3))
                        self.assertLessEqual(self.runs["pay 1"], 1)
                        self.assertTrue(
                            self.runs["pay 1"] == 1 or "outcome" in contents["id1"] or "unknown" in contents["id1"]
                        )
                        self.assertEqual(Question.objects.filter(turn=turn).count(), 2)
                        asked = OutboundPart.objects.filter(turn=turn, idempotency_key__startswith="ask/")
                        self.assertEqual(asked.count(), 2)
                        self.assertEqual(AuditEntry.objects.count(), audited + 2)
                    self.assert_free()
        self.assertGreater(deaths, 10)

    def test_waiting_uses_no_attempt_and_a_death_while_it_waits_changes_nothing(self) -> None:
        self.park("pay")
        for _ in range(5):
            self.answer()
            expire_leases()
        pipeline.accept("/approve")
        self.answer()
        turn = Turn.objects.get()
        self.assertEqual((turn.state, turn.attempts, self.runs), ("done", 1, {"pay 0": 1}))

    def test_a_stop_that_comes_before_the_turn_is_parked_keeps_it_from_asking(self) -> None:
        park = runner.park

        def stopped_first(*args: Any) -> Any:
            pipeline.accept("/stop")
            return park(*args)

        self.model.script.add(tool_calls=calls("pay"))
        pipeline.accept("go")
        with mock.patch.object(runner, "park", stopped_first):
            self.answer()
        self.assertEqual((self.turn_states(), self.states()), (["stopped"], []))
        self.assertFalse(OutboundPart.objects.filter(idempotency_key__startswith="ask/").exists())
        self.assert_free()


class WhoTests(QuestionCase):
    """In a thread that ann and bob share, while a call of ann's waits."""

    def setUp(self) -> None:
        super().setUp()
        self.park("pay", **GROUP)

    def say(self, text: str, user: str, **place: Any) -> None:
        pipeline.inbox.accept([pipeline.event(text, user=user, **GROUP | place)])

    def test_nobody_else_decides_by_command_word_or_button(self) -> None:
        token = self.question().token
        self.say("/approve", "bob")
        self.say("yes", "bob")
        self.say("/approve", "ann", chat_id="elsewhere")
        self.say("/approve", "ann", thread_id="other")
        for source in (pipeline.source("bob", **GROUP), pipeline.source("ann"), pipeline.source("", **GROUP)):
            for choice in ("once", "always", "deny"):
                self.assertFalse(pressing.press(f"{token}.{choice}", source=source).is_settled)
        for value in ("", ".", "once", f"{token}.", f"{token}.twice", f"{token[:-1]}.once", "x" * 64):
            self.assertEqual(pressing.press(value, source=pipeline.source("ann", **GROUP)).text, pressing.UNKNOWN)
        self.assertEqual(self.states(), ["pending"])

    def test_whoever_may_not_speak_any_more_decides_nothing(self) -> None:
        denied = mock.Mock(is_allowed=False)
        with mock.patch.object(deciding.gatekeeper, "decide", return_value=denied):
            pressed = pressing.press(f"{self.question().token}.once", source=pipeline.source("ann", **GROUP))
        self.assertFalse(pressed.is_settled)
        self.assertEqual(self.states(), ["pending"])

    def test_an_admin_approves_a_single_call_for_somebody_else_and_no_more(self) -> None:
        tiers = {"group_allow_admin_from": ("boss",), "group_user_allowed_commands": ("help",)}
        with configured(access={"platforms": {"recording": tiers | {"allow_all_users": True}}}):
            self.say("/approve", "ann")  # of the tier that may not
            token = self.question().token
            boss = pipeline.source("boss", **GROUP)
            self.assertIn("theirs to say", pressing.press(f"{token}.always", source=boss).text)
            self.assertEqual(self.states(), ["pending"])
            self.assertTrue(pressing.press(f"{token}.once", source=boss).is_settled)
        self.answer(**GROUP)
        self.assertEqual(self.audited(), [("tool_approved", "boss", "button")])
        self.assertEqual(self.runs, {"pay 0": 1})

    def test_a_button_that_is_pressed_twice_says_what_became_of_it(self) -> None:
        value = f"{self.question().token}.once"
        ann = pipeline.source("ann", **GROUP)
        first, second = (pressing.press(value, source=ann) for _ in range(2))
        self.assertEqual((first.text, second.text), ("Approved: `pay` (1).",) * 2)
        self.assertEqual((len(first.rings), second.rings), (1, ()))
        other = pressing.press(f"{self.question().token}.deny", source=ann)
        self.assertEqual(other.text, "Approved: `pay` (1).")
        self.answer(**GROUP)
        late = pressing.press(value, source=ann)
        self.assertEqual((late.text, late.is_settled), ("Approved: `pay` (1).", True))
        self.assertEqual(self.runs, {"pay 0": 1})


@skipUnlessDBFeature("has_select_for_update")
class RaceTests(QuestionCase):
    """What comes at the same moment, by connections of their own."""

    def at_once(self, *acts: Callable[[], object]) -> list[object]:
        gate, found = threading.Barrier(len(acts)), list[object]([None] * len(acts))

        def run(place: int, act: Callable[[], object]) -> None:
            try:
                gate.wait()
                found[place] = act()
            finally:
                connection.close()

        threads = [threading.Thread(target=run, args=each) for each in enumerate(acts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def press(self, choice: str) -> Callable[[], object]:
        value = f"{self.question(Question.objects.count()).token}.{choice}"
        return lambda: len(pressing.press(value, source=pipeline.source()).rings)

    def test_of_answers_that_come_at_once_one_counts(self) -> None:
        for _ in range(5):
            self.park("pay")
            question = Question.objects.latest("number")
            self.at_once(
                self.press("once"), self.press("deny"), self.press("always"),
                lambda: pipeline.accept("/approve"), lambda: pipeline.accept("no"),
                lambda question=question: deciding.decide(question, is_approved=False, by="olga"),
            )  # fmt: skip
            before = self.runs["pay 0"]
            self.answer()
            question.refresh_from_db()
            self.assertEqual(self.runs["pay 0"] - before, int(question.state == "approved"))
            self.assertEqual(len(self.audited()), Question.objects.count())
            ToolPermission.objects.all().delete()
            self.answer()
        self.assert_free()

    def test_an_approval_a_time_out_and_a_stop_at_once_leave_one_outcome(self) -> None:
        for _ in range(5):
            self.park("pay")
            question = Question.objects.latest("number")
            key, before = Lane.objects.get(kind="turns").key, self.runs["pay 0"]

            def time_out(turn_id: int = question.turn_id, key: str = key) -> None:
                with transaction.atomic():
                    claim = lanes.claim(kind=LaneKind.TURNS, key=key)
                    if claim:
                        answering.expire(turn_id=turn_id, now=clock.read() + timedelta(days=1))
                        lanes.release_later(claim, wait=0)

            self.at_once(self.press("once"), time_out, lambda: pipeline.accept("/stop"))
            self.answer()
            question.refresh_from_db()
            self.assertEqual(question.turn.state, "stopped")
            self.assertEqual(self.runs["pay 0"], before)
            self.assertIn(question.state, ("approved", "expired", "withdrawn"))
        self.assert_free()


class RuleTests(QuestionCase):
    def test_what_is_decided_is_one_row_of_the_audit_each(self) -> None:
        self.park("pay", "send")
        pipeline.accept("/approve 1 always", "/deny 2 no thanks")
        self.answer()
        self.assertEqual(self.audited(), [("tool_approved", "ann", "chat"), ("tool_denied", "ann", "chat")])
        entry = AuditEntry.objects.filter(action="tool_approved").get()
        self.assertEqual((entry.platform, entry.subject), ("recording", "ann"))
        self.assertEqual((entry.after["tool"], entry.after["scope"]), ("pay", "always"))
        self.assertEqual(AuditEntry.objects.get(action="tool_denied").reason, "no thanks")
        found = permissions.permitted(pipeline.source(), session_id="", tools={"pay", "send"})
        self.assertEqual(found, {"pay"})

    def test_words_are_taken_only_from_whom_the_command_is_allowed(self) -> None:
        self.park("pay")
        tiers = {"allow_all_users": True, "allow_admin_from": ("boss",)}
        with configured(access={"platforms": {"recording": tiers}}):
            pipeline.accept("yes")
        self.assertEqual((self.states(), pipeline.inbound_states()), (["pending"], ["running", "waiting"]))
