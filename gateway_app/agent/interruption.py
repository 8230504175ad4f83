"""What remains of a conversation that was stopped before its end, so that it can be gone on with."""

from __future__ import annotations

from collections.abc import Sequence

from gateway_app.models.turn import StepKind
from gateway_app.turns.journal import Step

from .ai_agent import Conversation, steering_message, transcribed
from .model_reply import ModelReply
from .tool_round import Repeats, ToolRound

MARK = "[Interrupted here by the person.]"


def cut_short(steps: Sequence[Step], *, text: str = "") -> tuple[Conversation, list[Step]]:
    """The conversation of a journal that ends anywhere, and the steps that complete it.

    Every tool call has one result, in the order of the calls; one that is missing says that it was interrupted. The
    last message is the agent's: `text`, what it had said since the last step, and a mark. So the transcript stays one
    that every model server takes: no call without a result, and a person's next message follows an answer.
    """
    conversation = Conversation()
    tool_round: ToolRound | None = None
    added: list[Step] = []

    def settle() -> None:
        if tool_round:
            added.extend(tool_round.abandon())
            conversation.said += tool_round.messages

    for step in steps:
        match step.kind:
            case StepKind.MODEL_REPLY:
                settle()
                reply = ModelReply.from_json(step.payload)
                conversation.take(reply)
                tool_round = ToolRound.of(reply, repeats=Repeats())
            case StepKind.STEERED:
                settle()
                tool_round = None
                conversation.said.append(steering_message(step))
            case _ if tool_round:
                tool_round.replay(step)
    settle()
    last = ModelReply(
        text=f"{text.rstrip()}\n\n{MARK}" if text.strip() else MARK,
        tool_calls=(),
        finish_reason="interrupted",
        model=conversation.usage.model,
        prompt_tokens=0,
        completion_tokens=0,
        seconds=0.0,
        usage_estimated=True,
    )
    conversation.said.append(transcribed(last))
    return conversation, [*added, Step(StepKind.MODEL_REPLY, last.to_json())]
