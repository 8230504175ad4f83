"""What remains of a conversation that was stopped anywhere."""

from __future__ import annotations

from typing import Any

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from gateway_app.agent.ai_agent import transcribed
from gateway_app.agent.interruption import MARK, cut_short
from gateway_app.agent.model_reply import ModelReply, ToolCall
from gateway_app.models.turn import StepKind
from gateway_app.turns.journal import Step
from tests.transcripts import faults

ASKED = {"role": "user", "content": "go"}


def reply(*calls: str, text: str = "") -> Step:
    made = tuple(ToolCall(id=call, name="work", arguments="{}") for call in calls)
    found = ModelReply(
        text=text,
        tool_calls=made,
        finish_reason="tool_calls",
        model="m",
        prompt_tokens=5,
        completion_tokens=2,
        seconds=1.0,
    )
    return Step(StepKind.MODEL_REPLY, found.to_json())


def started(call: str) -> Step:
    return Step(StepKind.TOOL_STARTED, {"tool_call_id": call})


def result(call: str) -> Step:
    return Step(StepKind.TOOL_RESULT, {"tool_call_id": call, "content": f"result of {call}"})


def steered() -> Step:
    return Step(StepKind.STEERED, {"content": "use metres", "messages": [1]})


@st.composite
def journals(draw: st.DrawFn) -> list[Step]:
    """What a worker may have journaled by the time it is stopped; results come in any order."""
    steps: list[Step] = []
    for number in range(draw(st.integers(0, 3))):
        calls = [f"call-{number}-{n}" for n in range(draw(st.integers(1, 3)))]
        steps.append(reply(*calls))
        for call in draw(st.permutations(calls)):
            steps += [started(call)] * draw(st.booleans()) + [result(call)]
        steps += [steered()] * draw(st.booleans())
    return steps[: draw(st.integers(0, len(steps)))]


class CutShortTests(SimpleTestCase):
    @given(journals(), st.sampled_from(["", "Once upon"]))
    def test_the_transcript_is_valid_wherever_the_journal_ends(self, steps: list[Step], text: str) -> None:
        conversation, added = cut_short(steps, text=text)
        self.assertEqual(faults([ASKED, *conversation.said]), [])
        self.assertTrue(conversation.said[-1]["content"].endswith(MARK))
        again, more = cut_short([*steps, *added[:-1]], text=text)
        self.assertEqual((again.said, more), (conversation.said, added[-1:]))

    def test_results_stand_in_the_order_of_their_calls_and_a_missing_one_says_what_is_known(self) -> None:
        steps = [reply("a", "b", "c", text="Let me see."), started("a"), started("b"), result("b")]
        conversation, added = cut_short(steps)
        said: list[dict[str, Any]] = conversation.said
        self.assertEqual(said[0], transcribed(ModelReply.from_json(steps[0].payload)))
        self.assertEqual([message.get("tool_call_id") for message in said[1:4]], ["a", "b", "c"])
        self.assertIn("whether it took effect is unknown", said[1]["content"])
        self.assertEqual(said[2]["content"], "result of b")
        self.assertIn("no result", said[3]["content"])
        self.assertEqual([step.kind for step in added], ["tool_result", "tool_result", "model_reply"])

    def test_what_was_paid_for_is_counted(self) -> None:
        conversation, _ = cut_short([reply("a"), result("a"), reply("b")])
        used = conversation.usage
        self.assertEqual((used.model, used.model_calls, used.prompt_tokens, used.model_seconds), ("m", 2, 10, 2.0))
