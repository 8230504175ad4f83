"""The agent: asks the model, runs the tools it calls, and ends with a reply; every step is journaled first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from gateway_app import metrics
from gateway_app.models.turn import StepKind
from gateway_app.sessions.source import SessionContext
from gateway_app.turns.journal import Step

from . import registry
from .model_client import ModelClient, ModelError, ModelErrorKind, ModelReply, ToolCall
from .registry import Registry

Record = Callable[[Step], Awaitable[None]]
"""Writes one journal step, fenced, before the next begins."""

Join = Callable[[], Awaitable[Sequence[Step]]]
"""Returns what people said meanwhile and is to join here, as steps that are recorded already."""

INTERRUPTED = "The tool was interrupted; whether it took effect is unknown. Do not run it again without checking."
SHORTENINGS = 3
"""How often the history is halved where a model says that the conversation is too long for it."""


@dataclass(slots=True)
class Conversation:
    """What came of a user message: the reply, the messages that led to it, and what it cost."""

    reply: str = ""
    said: list[dict[str, Any]] = field(default_factory=list)
    """Assistant and tool messages in order, in chat-completions form; the reply is the last."""
    last: Step | None = None
    """The final reply's step, not recorded yet: it commits together with the turn."""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_seconds: float = 0.0

    def take(self, reply: ModelReply) -> None:
        """Adds a model reply, and its cost."""
        self.said.append(transcribed(reply))
        self.model = reply.model
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self.model_seconds += reply.seconds


class AIAgent:
    """Runs one turn's conversation with the model, for one session context."""

    def __init__(
        self,
        *,
        model: ModelClient,
        tools: Registry,
        context: SessionContext,
        record: Record,
        on_text: Callable[[str], Awaitable[None]] | None = None,
        join: Join | None = None,
    ) -> None:
        """`on_text` gets the reply as far as it is written, where somebody watches it being written. `join` is asked
        before each model call but the first.
        """
        self._model = model
        self._tools = tools
        self._context = context
        self._record = record
        self._on_text = on_text
        self._join = join

    async def run_conversation(
        self, user_message: str, *, history: Sequence[dict[str, Any]] = (), steps: Sequence[Step] = ()
    ) -> Conversation:
        """The conversation that `user_message` leads to, after `history`. `steps` is the journal of an earlier
        attempt: none of it is done again. Raises `ModelError`, and what `record` raises.
        """
        conversation = Conversation()
        past = list(history)
        asked = {"role": "user", "content": user_message}
        pending = self._replay(conversation, steps)
        calls = sum(step.kind is StepKind.MODEL_REPLY for step in steps)
        while True:
            for call, was_started in pending:
                conversation.said.append(await self._invoke_tool(call, was_started=was_started))
            if calls and self._join:
                conversation.said += [steering_message(step) for step in await self._join()]
            calls += 1
            offered = self._tools.schemas() if settings.MODEL_TOOLS and calls < settings.TURN_MAX_STEPS else []
            reply = await self._ask(past, [asked, *conversation.said], offered)
            conversation.take(reply)
            step = Step(StepKind.MODEL_REPLY, reply.to_json())
            if not reply.tool_calls:
                conversation.reply = reply.text
                conversation.last = step
                return conversation
            await self._record(step)
            pending = [(call, False) for call in reply.tool_calls]

    def _replay(self, conversation: Conversation, steps: Sequence[Step]) -> list[tuple[ToolCall, bool]]:
        """Puts the journal into the conversation; returns the calls that have no result, and whether each had begun."""
        pending: dict[str, tuple[ToolCall, bool]] = {}
        for step in steps:
            if step.kind is StepKind.MODEL_REPLY:
                reply = ModelReply.from_json(step.payload)
                conversation.take(reply)
                pending = {call.id: (call, False) for call in reply.tool_calls}
            elif step.kind is StepKind.TOOL_STARTED:
                call, _ = pending[step.payload["tool_call_id"]]
                pending[call.id] = (call, True)
            elif step.kind is StepKind.STEERED:
                conversation.said.append(steering_message(step))
            else:
                pending.pop(step.payload["tool_call_id"])
                conversation.said.append(tool_message(step.payload["tool_call_id"], step.payload["content"]))
        return list(pending.values())

    async def _ask(
        self, past: list[dict[str, Any]], present: list[dict[str, Any]], tools: Sequence[dict[str, Any]]
    ) -> ModelReply:
        for shortenings in range(SHORTENINGS + 1):
            try:
                reply = await self._complete(past, present, tools)
            except ModelError as failure:
                if failure.kind is not ModelErrorKind.CONTEXT_TOO_LONG or not past or shortenings == SHORTENINGS:
                    raise
                shorten(past)
            else:
                metrics.MODEL_SECONDS.labels(model=reply.model).inc(reply.seconds)
                metrics.MODEL_TOKENS.labels(model=reply.model, kind="prompt").inc(reply.prompt_tokens)
                metrics.MODEL_TOKENS.labels(model=reply.model, kind="completion").inc(reply.completion_tokens)
                return reply
        raise AssertionError("unreachable")

    async def _complete(
        self, past: list[dict[str, Any]], present: list[dict[str, Any]], tools: Sequence[dict[str, Any]]
    ) -> ModelReply:
        messages = [{"role": "system", "content": settings.SYSTEM_PROMPT}, *past, *present]
        if self._on_text is None:
            return await self._model.complete(messages, tools=tools)
        on_text, text = self._on_text, ""

        async def on_delta(piece: str) -> None:
            nonlocal text
            text += piece
            await on_text(text)

        async def on_restart() -> None:
            nonlocal text
            text = ""
            await on_text(text)

        return await self._model.complete(messages, tools=tools, on_delta=on_delta, on_restart=on_restart)

    async def _invoke_tool(self, call: ToolCall, *, was_started: bool) -> dict[str, Any]:
        """Runs one tool call and journals its result. One that had begun and may not be repeated is not run."""
        repeatable = self._tools.is_repeatable(call.name)
        if was_started and not repeatable:
            content = registry.error(INTERRUPTED)
        else:
            if not repeatable:
                await self._record(Step(StepKind.TOOL_STARTED, {"tool_call_id": call.id}))
            content = await handle_function_call(
                self._tools, name=call.name, arguments=call.arguments, context=self._context
            )
        await self._record(Step(StepKind.TOOL_RESULT, {"tool_call_id": call.id, "content": content}))
        return tool_message(call.id, content)


async def handle_function_call(tools: Registry, *, name: str, arguments: str, context: SessionContext) -> str:
    """Runs a tool for the session of `context`, which every handler gets explicitly."""
    return await tools.dispatch(name, arguments, context=context)


def transcribed(reply: ModelReply) -> dict[str, Any]:
    """The assistant message that stands for `reply`; its content is text also where it only calls tools."""
    return reply.to_message() | {"content": reply.text}


def tool_message(tool_call_id: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": tool_call_id, "content": content}


def steering_message(step: Step) -> dict[str, Any]:
    """What people said while the turn ran, as the model gets it: after the results that it had by then."""
    return {"role": "user", "content": step.payload["content"]}


def shorten(past: list[dict[str, Any]]) -> None:
    """Drops the older half of the history, up to the next message of a person."""
    del past[: max(len(past) // 2, 1)]
    while past and past[0]["role"] != "user":
        del past[0]
