"""Calls of tools that a person has to approve: the turn waits as a row, and goes on with the answer."""

from __future__ import annotations

import json

from gateway_app import backlog
from gateway_app.models import Lane, Turn
from tests import pipeline
from tests.question_case import QuestionCase


class ApprovalTests(QuestionCase):
    def test_the_person_sees_what_would_run_and_no_worker_waits(self) -> None:
        self.park(("pay", {"n": 7, "password": "hunter2"}))
        (asked,) = self.platform.sent
        self.assertIn("`pay`", asked.text)
        self.assertIn('"n": 7', asked.text)
        self.assertNotIn("hunter2", asked.text)
        self.assertEqual([label for label, _ in asked.buttons], ["Approve", "For this conversation", "Always", "Deny"])
        self.assertEqual(self.runs, {})
        lane = Lane.objects.get(kind="turns")
        self.assertIsNone(lane.lease_until)
        self.assertEqual(lane.wake_at, self.question().expires_at)
        self.assertEqual((backlog.read().turns.due, backlog.read().turns.held), (0, 0))
        self.answer()  # a ring for nothing
        self.assertEqual(self.turn_states(), ["parked"])

    def test_an_approved_call_runs_once_and_the_turn_goes_on(self) -> None:
        self.park("pay")
        accepted = pipeline.accept("/approve")
        self.assertEqual([context.session_key for context in accepted.rings], [Lane.objects.get(kind="turns").key])
        self.answer()
        self.assertEqual(self.runs, {"pay 0": 1})
        self.assertEqual(self.results(), ["did pay 0"])
        self.assertEqual(self.turn_states(), ["done"])
        self.assertEqual(Turn.objects.get().attempts, 1)
        self.assertEqual(self.audited(), [("tool_approved", "ann", "chat")])
        self.deliver()
        self.assertTrue(any(text.startswith("Approved: `pay` (1).") for text in self.platform.texts))
        self.assert_free()

    def test_a_denied_call_does_not_run_and_the_model_gets_the_reason(self) -> None:
        self.park("pay")
        pipeline.accept("/deny far too much")
        self.answer()
        self.assertEqual(self.runs, {})
        self.assertIn("They say: far too much", json.loads(self.results()[0])["error"])
        self.assertEqual(self.audited(), [("tool_denied", "ann", "chat")])
        self.assert_free()

    def test_words_decide_while_one_is_asked_for_and_are_plain_messages_else(self) -> None:
        for word, state in (("Yes", "approved"), ("👎", "denied"), ("no", "denied"), ("okay", "approved")):
            with self.subTest(word):
                self.park("pay")
                pipeline.accept(word)
                self.answer()
                self.assertEqual(self.states()[-1], state)
                self.assertEqual(self.turn_states()[-1], "done")
        pipeline.accept("yes")
        self.answer()
        self.assertEqual(self.model.requests[-1]["body"]["messages"][-1]["content"], "yes")
        self.assert_free()
