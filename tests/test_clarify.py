"""Questions of the agent's: the person's next message is the answer, and no worker waits for it."""

from __future__ import annotations

from gateway_app import backlog, clock
from gateway_app.agent.tools import registry as shipped_tools
from gateway_app.models import InboundMessage, Lane, OutboundPart, Question, Turn
from gateway_app.platforms.cli.conversation import Answer, ask, source_of_terminal
from gateway_app.questions import pressing
from gateway_app.sessions.source import ChatType
from tests import pipeline
from tests.agent_case import calls
from tests.busy_case import busy
from tests.configuration import configured, open_to_all
from tests.question_case import QuestionCase

THREAD = {"chat_id": "g", "chat_type": ChatType.GROUP, "thread_id": "t"}
WHICH = ("clarify", {"question": "Which colour?", "choices": ["red", "light blue"]})


class ClarifyTests(QuestionCase):
    def test_the_next_message_is_the_answer_by_number_by_name_or_in_other_words(self) -> None:
        for said, expected in (("2", "light blue"), ("RED", "red"), ("none of these", "none of these"), ("3", "3")):
            with self.subTest(said):
                self.park(WHICH)
                asked = self.platform.texts[-1]
                self.assertIn("Which colour?\n\n1. red\n2. light blue\n\nAnswer with a number", asked)
                pipeline.accept(said)
                self.answer()
                self.assertEqual(self.results()[-1], expected)
                self.assertEqual(self.turn_states()[-1], "done")
        self.assertEqual(self.audited(), [])
        self.assert_free()

    def test_only_one_message_is_the_answer_and_those_after_it_wait(self) -> None:
        self.park(("clarify", {"question": "Which?"}))
        with busy("interrupt"):  # an answer interrupts nothing
            pipeline.accept("this one")
        pipeline.accept("and something else")
        self.assertEqual(pipeline.inbound_states(), ["running", "done", "waiting"])
        self.answer()
        self.assertEqual(self.turn_states(), ["done", "done"])
        self.assertEqual(self.model.requests[-1]["body"]["messages"][-1]["content"], "and something else")
        self.assert_free()

    def test_in_a_shared_conversation_only_the_person_who_was_asked_answers(self) -> None:
        self.park(WHICH, **THREAD)
        pipeline.inbox.accept([pipeline.event("blue", user="bob", **THREAD)])
        self.answer(**THREAD)
        self.assertEqual((self.states(), self.turn_states()), (["pending"], ["parked"]))
        value = f"{self.question().token}.1"
        for source in (
            pipeline.source("bob", **THREAD), pipeline.source("ann"), pipeline.source("ann", chat_id="elsewhere"),
        ):  # fmt: skip
            self.assertFalse(pressing.press(value, source=source).is_settled)
        self.assertTrue(pressing.press(value, source=pipeline.source("ann", **THREAD)).is_settled)
        self.answer(**THREAD)
        self.assertEqual(self.results(), ["red"])
        self.assertEqual(self.turn_states(), ["done", "done"])  # and bob's has its turn

    def test_a_message_from_before_the_question_was_shown_is_no_answer(self) -> None:
        self.park(WHICH)
        OutboundPart.objects.update(attempts=0, state="waiting")
        pipeline.accept("by the way")
        self.assertEqual(self.states(), ["pending"])
        self.assertEqual(pipeline.inbound_states(), ["running", "waiting"])

    def test_without_an_answer_the_turn_goes_on_at_the_deadline(self) -> None:
        self.park(WHICH)
        Question.objects.update(expires_at=clock.read())
        Lane.objects.filter(kind="turns").update(wake_at=clock.read())
        self.answer()
        self.assertIn("Go on as you think best", self.results()[0])
        self.assertEqual((self.states(), self.turn_states()), (["expired"], ["done"]))

    def test_a_question_that_does_not_fit_is_not_asked(self) -> None:
        for arguments in ({}, {"question": ""}, {"question": "?", "choices": ["x"] * 9}):
            with self.subTest(arguments):
                self.model.script.add(tool_calls=calls(("clarify", arguments)))
                pipeline.accept("go")
                self.answer()
                self.assertEqual((self.states(), self.turn_states()[-1]), ([], "done"))

    def test_it_is_offered_unless_it_is_switched_off(self) -> None:
        self.assertIn("clarify", shipped_tools(pipeline.context()).names)
        with configured(tools={"disabled": ["clarify"]}):
            self.assertNotIn("clarify", shipped_tools(pipeline.context()).names)


class TerminalTests(QuestionCase):
    def say(self, text: str) -> Answer:
        found: Answer = pipeline.run(ask(text, source=source_of_terminal(conversation="test")))
        return found

    def test_at_a_terminal_the_question_is_what_comes_back_and_the_next_text_goes_on(self) -> None:
        with open_to_all("cli"):
            self.model.script.add(tool_calls=calls("pay"))
            asked = self.say("go")
            self.assertIn("May I run this?", asked.texts[0])
            self.assertTrue(asked.is_answered)
            self.assertEqual(self.say("something else").texts, ["I wait for an answer first:\n- 1: `pay`"])
            self.assertIn("Approved: `pay` (1).", self.say("/approve").texts)
        self.assertEqual((self.runs, self.turn_states()), ({"pay 0": 1}, ["done", "done"]))


class MeanwhileTests(QuestionCase):
    def test_what_comes_meanwhile_waits_and_stop_ends_it_with_results_for_all_calls(self) -> None:
        self.park("look", "pay")
        pipeline.accept("one more thing")
        self.assertEqual(InboundMessage.objects.filter(state="waiting").count(), 1)
        self.answer()
        self.assertEqual(self.turn_states(), ["parked"])
        inbox = backlog.read().inbox
        self.assertEqual((inbox.waiting, inbox.oldest_seconds), (1, None))
        accepted = pipeline.accept("/status", "/stop", "/approve")
        self.assertEqual(len(accepted.rings), 1)
        self.answer()
        self.assertEqual(self.turn_states(), ["stopped", "done"])
        self.assertEqual((self.states(), self.runs), (["withdrawn"], {"look 0": 1}))
        self.assertIn("before it was run to its end", self.results()[1])
        self.assertEqual(self.model.requests[-1]["body"]["messages"][-1]["content"], "one more thing")
        self.deliver()
        said = "\n".join(self.platform.texts)
        self.assertIn("Running: waits for your answer; 1 waiting", said)
        self.assertIn("- 1: `pay`", said)
        self.assertIn("There is nothing to approve", said)
        self.assert_free()

    def test_an_interrupting_message_ends_it_and_a_steering_one_joins_it_afterwards(self) -> None:
        self.park("pay")
        with busy("steer"):
            pipeline.accept("in euros")
        pipeline.accept("/approve")
        self.answer()
        self.assertEqual((self.turn_states(), self.runs), (["done"], {"pay 0": 1}))
        self.assertEqual(self.model.requests[-1]["body"]["messages"][-1]["content"], "in euros")
        self.park("pay")
        with busy("interrupt"):
            pipeline.accept("forget it")
        self.answer()
        self.assertEqual(self.turn_states(), ["done", "stopped", "done"])
        self.assertEqual(self.runs, {"pay 0": 1})

    def test_a_command_that_leaves_the_conversation_does_not_wait_for_the_answer(self) -> None:
        self.park("pay")
        pipeline.accept("/new")
        self.answer()
        self.assertEqual((self.states(), self.turn_states()), (["withdrawn"], ["stopped", "done"]))
        self.assertEqual(Turn.objects.values("session").distinct().count(), 1)
        self.assert_free()
