"""What remains of a conversation that was stopped before its end, so that it can be gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway_app.models.turn import StepKind
from gateway_app.turns.journal import Step

from . import registry
from .ai_agent import INTERRUPTED, Conversation, steering_message, tool_message
from .model_reply import ModelReply, ToolCall

NOT_RUN = "The tool has no result: the person interrupted before it was run to its end."
MARK = "[Interrupted here by the person.]"


def cut_short(steps: Sequence[Step], *, text: str = "") -> tuple[Conversation, list[Step]]:
    """The conversation of a journal that ends anywhere, and the steps that complete it.

    Every tool call has one result, in the order of the calls; one that is missing says that it was interrupted. The
    last message is the agent's: `text`, what it had said since the last step, and a mark. So the transcript stays one
    that every model server takes: no call without a result, and a person's next message follows an answer.
    """
    conversation = Conversation()
    open_calls: list[ToolCall] = []
    results: dict[str, str] = {}
    started: set[str] = set()
    added: list[Step] = []

    def settle() -> None:
        for call in open_calls:
            if call.id not in results:
                results[call.id] = registry.error(INTERRUPTED if call.id in started else NOT_RUN)
                added.append(Step(StepKind.TOOL_RESULT, {"tool_call_id": call.id, "content": results[call.id]}))
            conversation.said.append(tool_message(call.id, results[call.id]))
        open_calls.clear()

    for step in steps:
        payload: dict[str, Any] = step.payload
        match step.kind:
            case StepKind.MODEL_REPLY:
                settle()
                reply = ModelReply.from_json(payload)
                conversation.take(reply)
                open_calls += reply.tool_calls
            case StepKind.TOOL_STARTED:
                started.add(payload["tool_call_id"])
            case StepKind.TOOL_RESULT:
                results[payload["tool_call_id"]] = payload["content"]
            case StepKind.STEERED:
                settle()
                conversation.said.append(steering_message(step))
    settle()
    last = ModelReply(
        text=f"{text.rstrip()}\n\n{MARK}" if text.strip() else MARK,
        tool_calls=(),
        finish_reason="interrupted",
        model=conversation.model,
        prompt_tokens=0,
        completion_tokens=0,
        seconds=0.0,
        usage_estimated=True,
    )
    conversation.take(last)
    return conversation, [*added, Step(StepKind.MODEL_REPLY, last.to_json())]
