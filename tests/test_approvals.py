"""Calls of tools that a person has to approve: the turn waits as a row, and goes on with the answer."""

from __future__ import annotations

import json

from gateway_app import backlog, clock, lanes
from gateway_app.models import Lane, Question, ToolPermission, Turn
from gateway_app.sessions.source import SessionContext
from gateway_app.turns.runner import run_session
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline
from tests.agent_case import calls
from tests.question_case import QuestionCase


def pay(n: int) -> tuple[dict[str, str], ...]:
    return calls(("pay", {"n": n}))


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

    def test_calls_that_need_nobody_run_first_and_the_others_are_asked_together(self) -> None:
        self.park("pay", "look", "send")
        self.assertEqual(self.runs, {"look 1": 1})
        self.assertEqual([(q.number, q.tool) for q in Question.objects.order_by("number")], [(1, "pay"), (2, "send")])
        self.deliver()
        self.assertEqual(len(self.platform.sent), 2)
        pipeline.accept("/approve 2")
        self.answer()
        self.assertEqual(self.turn_states(), ["parked"])  # until all are settled
        pipeline.accept("/deny")
        self.answer()
        self.assertEqual(self.runs, {"look 1": 1, "send 2": 1})
        pay, look, send = self.results()
        self.assertIn("did not approve", pay)
        self.assertEqual((look, send), ("did look 1", "did send 2"))
        self.assert_free()

    def test_all_are_approved_at_once_and_what_means_none_says_so(self) -> None:
        self.park("pay", "send")
        pipeline.accept("/approve 7", "/approve everything", "/deny 7", "/approve all")
        self.answer()
        self.deliver()
        self.assertEqual(self.states(), ["approved", "approved"])
        said = "\n".join(self.platform.texts)
        self.assertIn("No call of that number waits.\n- 1: `pay`\n- 2: `send`", said)
        self.assertEqual(said.count("Say `/approve`"), 2)
        self.assert_free()

    def test_no_answer_in_time_is_a_no_that_nobody_said(self) -> None:
        self.park("pay")
        Question.objects.update(expires_at=clock.read())
        Lane.objects.filter(kind="turns").update(wake_at=clock.read())
        self.assertIn(("turns", Lane.objects.get(kind="turns").key), lanes.due(limit=9))
        pipeline.accept("/approve")  # too late
        self.answer()
        self.assertEqual((self.states(), self.runs), (["expired"], {}))
        self.assertIn("Nobody refused it either", self.results()[0])
        self.assertEqual(self.audited(), [("tool_expired", "system", "timeout")])
        self.deliver()
        self.assertIn("There is nothing to approve or to deny here.", self.platform.texts)

    def test_a_permission_holds_for_its_giver_only_and_for_the_conversation_or_always(self) -> None:
        self.park("pay")
        pipeline.accept("session")
        self.answer()
        self.assertEqual(ToolPermission.objects.get().session_id, Turn.objects.get().session.session_id)
        self.model.script.add(tool_calls=pay(1))
        pipeline.accept("again")
        self.answer()  # asks nobody
        self.assertEqual(self.runs["pay 1"], 1)
        pipeline.accept("/new")
        self.answer()
        self.park(("pay", {"n": 2}))
        pipeline.accept("/approve always")
        self.answer()
        pipeline.accept("/new")
        self.answer()
        self.model.script.add(tool_calls=pay(3))
        pipeline.accept("and again")
        self.answer()
        self.assertEqual(self.runs["pay 3"], 1)
        self.park("pay", user="bob")
        self.assertEqual(self.runs["pay 0"], 1)
        self.assertEqual(ToolPermission.objects.filter(participant="bob").count(), 0)

    def test_an_approval_counts_for_no_later_call_though_it_has_the_same_id(self) -> None:
        self.model.script.add(tool_calls=pay(5))
        pipeline.accept("go")
        self.answer()
        self.model.script.add(tool_calls=pay(6))
        pipeline.accept("yes")
        self.answer()
        self.assertEqual(self.runs, {"pay 5": 1})
        self.assertEqual(self.states(), ["approved", "pending"])

    def test_what_needs_no_question_is_not_asked_about(self) -> None:
        for wanted, expected in ((("pay", "no JSON"), "JSON"), (("nothing", {}), "There is no tool 'nothing'")):
            with self.subTest(wanted):
                self.model.script.add(tool_calls=calls(wanted))
                pipeline.accept("go")
                self.answer()
                self.assertEqual(self.states(), [])
                self.assertIn(expected, self.results()[-1])

    def test_work_in_the_background_is_approved_by_its_id_and_asks_nothing_in_words(self) -> None:
        self.model.script.add(tool_calls=calls("pay"))
        begun = pipeline.accept("/background pay it")
        (beside,) = begun.rings
        self.ring(beside)
        self.assertNotIn("clarify", [each["function"]["name"] for each in self.model.requests[-1]["body"]["tools"]])
        work_id = self.question().name
        self.assertIn(f"/approve {work_id} runs it once", self.platform.texts[-1])
        pipeline.accept("/approve", "yes")  # these are the conversation's
        self.assertEqual(self.states(), ["pending"])
        approved = pipeline.accept(f"/approve {work_id}")
        self.assertIn(beside.session_key, {context.session_key for context in approved.rings})
        self.ring(beside)
        self.assertEqual(self.runs, {"pay 0": 1})
        self.model.script.add(tool_calls=calls("pay"))
        (other,) = pipeline.accept("/background pay again").rings
        self.ring(other)
        stopped = pipeline.accept(f"/stop {Question.objects.latest('id').name}")
        self.assertIn(other.session_key, {context.session_key for context in stopped.rings})
        self.ring(other)
        self.assertEqual(self.states()[-1], "withdrawn")

    def ring(self, context: SessionContext) -> None:
        """Does what one ring of any session does."""

        async def work() -> None:
            try:
                await run_session(context, http=http_session())
            finally:
                await close_http_session()

        pipeline.run(work())
