"""The agent: asks the model, runs the tools it calls, and ends with a reply; every step is journaled first."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.conf import settings

from gateway_app.media import vision
from gateway_app.models.turn import StepKind
from gateway_app.sessions.source import SessionContext
from gateway_app.turns.journal import Step

from .asking import Answers, Permit
from .model_client import ModelClient, ModelError, ModelErrorKind, ModelReply, ToolCall
from .registry import Registry
from .results import Result, presented
from .tool_round import Record, Repeats, ToolRound
from .usage import Usage, count

if TYPE_CHECKING:
    from honcho_app.manager import HonchoSessionManager

log = logging.getLogger(__name__)

Commit = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function of a tool in the database, in a fenced transaction: a worker that lost the turn changes nothing."""
Compress = Callable[[], Awaitable[list[dict[str, Any]] | None]]
"""Returns a shorter history, of which a part was summed up; nothing where that could not be done."""

OnCall = Callable[[ToolCall, Result | None], None]
"""Gets a tool call when it begins, and again with its result."""
Join = Callable[[], Awaitable[Sequence[Step]]]
"""Returns what people said meanwhile and is to join here, as steps that are recorded already."""

SHORTENINGS = 3
"""How often the history is halved where a model says that the conversation is too long for it, and then the tools'
results."""
SHORTEST_RESULT = 1_000
"""Characters of a tool's result that are left to the model however long the conversation is."""
LIGHTENED = "\n\n[Cut here: the conversation is too long for more of this result.]"
OUT_OF_STEPS = "you have used all {steps} steps that one message may take"
STUCK = "you made the same tool call over and over"
SUM_UP = (
    "[From the gateway, not from the person: {reason}, so no further tool can be called. Sum up for the person, in"
    " their language, what was done, what was found, and what is still open.]"
)
UNFINISHED = "I am sorry: I stopped before I was done with this ({reason}). Please ask again, perhaps for less at once."
NOTHING_SAID = "I am sorry: I have no answer to this. Please ask again."
UNFINISHED_REASONS = {OUT_OF_STEPS: "it took too many steps", STUCK: "I was going round in circles"}


@dataclass(slots=True)
class Conversation:
    """What came of a user message: the reply, the messages that led to it, and what it cost."""

    sync_honcho: bool = True
    """Whether what was said is for Honcho as well."""
    reply: str = ""
    said: list[dict[str, Any]] = field(default_factory=list)
    """Assistant and tool messages in order, in chat-completions form; the reply is the last."""
    thoughts: list[str] = field(default_factory=list)
    """What the model thought, where it says so, reply by reply; no part of what was said."""
    last: Step | None = None
    """The final reply's step, not recorded yet: it commits together with the turn."""
    usage: Usage = field(default_factory=Usage)

    def take(self, reply: ModelReply) -> None:
        """Adds a model reply, and its cost."""
        self.said.append(transcribed(reply))
        self.usage.add(reply)
        if reply.thought:
            self.thoughts.append(reply.thought)

    def end(self, reply: ModelReply) -> None:
        """Adds the final reply."""
        self.take(reply)
        self.reply = reply.text
        self.last = Step(StepKind.MODEL_REPLY, reply.to_json())


class AIAgent:
    """Runs one turn's conversation with the model, for one session context."""

    def __init__(
        self,
        *,
        model: ModelClient,
        models: Sequence[str],
        tools: Registry,
        context: SessionContext,
        record: Record,
        commit: Commit,
        turn_id: int = 0,
        prompt: str = "",
        effort: str = "",
        on_text: Callable[[str], Awaitable[None]] | None = None,
        on_thought: Callable[[str], None] | None = None,
        on_call: OnCall | None = None,
        join: Join | None = None,
        compress: Compress | None = None,
        answers: Answers = MappingProxyType({}),
        permit: Permit | None = None,
        seeing: Sequence[str] = (),
        spoken: Callable[[str], str] | None = None,
        honcho_manager: HonchoSessionManager | None = None,
        honcho_session_key: str = "",
        most_steps: int = 0,
    ) -> None:
        """`models` are asked in their order, with the system prompt `prompt` first, and to think as long as `effort`
        says. `on_text` gets the reply as far as it is written, where somebody watches it being written, and
        `on_thought` so what the model thinks; `on_call` is told of the tools. `join` is asked before each model call
        but the first, and the last that only sums up; `compress` once, where a model finds the conversation too long.
        `answers` are what people answered before in this turn; `permit` is asked about tools that need an approval.
        `seeing` are those of `models` that take images; the others are asked without, where these fail. `spoken` takes
        out of what the model says what it was given and is nobody's to read. After `most_steps` model calls,
        TURN_MAX_STEPS unless it is given, one more sums up. `honcho_manager` and `honcho_session_key` say whose memory
        the tools may use; without them it is nobody's.
        """
        self._model = model
        self._models = models
        self._tools = tools
        self._context = context
        self._record = record
        self._commit = commit
        self._turn_id = turn_id
        self._prompt = prompt
        self._effort = effort
        self._on_text = on_text
        self._on_thought = on_thought
        self._on_call = on_call
        self._join = join
        self._compress = compress
        self._seeing = seeing
        self._spoken = spoken
        self._answers = answers
        self._permit = permit
        self._honcho_manager = honcho_manager
        self._honcho_session_key = honcho_session_key
        self._most_steps = most_steps or settings.TURN_MAX_STEPS

    async def run_conversation(
        self,
        user_message: str,
        *,
        images: Sequence[dict[str, Any]] = (),
        history: Sequence[dict[str, Any]] = (),
        steps: Sequence[Step] = (),
        sync_honcho: bool = True,
    ) -> Conversation:
        """The conversation that `user_message` leads to, with `images` (parts of a message), after `history`.

        `steps` is the journal of an earlier attempt: none of it is done again. `sync_honcho` is false for turns that
        the gateway makes up, of which nothing is written to Honcho. Raises `ModelError`, `Parked` where a person has to
        answer first, and what `record` raises.
        """
        conversation, repeats = Conversation(sync_honcho), Repeats()
        past, asked = list(history), vision.with_images({"role": "user", "content": user_message}, images)
        tool_round = self._replay(conversation, steps, repeats=repeats)
        opening: list[Step] = []
        while True:
            if tool_round:
                await tool_round.run(
                    self._tools,
                    invoke=functools.partial(self._invoke_tool, reply=conversation.usage.model_calls),
                    record=self._record,
                    opening=opening,
                    answers=self._answers,
                    permit=self._permit,
                )
                conversation.said += tool_round.messages
            reason = STUCK if repeats.is_stuck else OUT_OF_STEPS
            if repeats.is_stuck or conversation.usage.model_calls >= self._most_steps:
                return await self._sum_up(conversation, past, asked, reason=reason)
            if conversation.usage.model_calls and self._join:
                conversation.said += [steering_message(step) for step in await self._join()]
            offered = self._tools.schemas if settings.MODEL_TOOLS else []
            reply = await self._ask(past, [asked, *conversation.said], offered)
            if not reply.tool_calls:
                conversation.end(reply)
                return conversation
            conversation.take(reply)
            # Journaled together with what the first calls of the round start, before any of them does.
            opening = [Step(StepKind.MODEL_REPLY, reply.to_json())]
            tool_round = ToolRound.of(reply, repeats=repeats, number=conversation.usage.model_calls)

    def _replay(self, conversation: Conversation, steps: Sequence[Step], *, repeats: Repeats) -> ToolRound | None:
        """Puts the journal into the conversation, all but the results of its last reply's calls: their round is
        returned, with what is known of them.
        """
        tool_round: ToolRound | None = None
        for step in steps:
            if step.kind is StepKind.MODEL_REPLY:
                if tool_round:
                    conversation.said += tool_round.messages
                reply = ModelReply.from_json(step.payload)
                conversation.take(reply)
                tool_round = ToolRound.of(reply, repeats=repeats, number=conversation.usage.model_calls)
            elif step.kind is StepKind.STEERED:  # once the round was done
                conversation.said += [*(tool_round.messages if tool_round else ()), steering_message(step)]
                tool_round = None
            elif tool_round:
                tool_round.replay(step)
        return tool_round

    async def _sum_up(
        self, conversation: Conversation, past: list[dict[str, Any]], asked: dict[str, Any], *, reason: str
    ) -> Conversation:
        """Ends the conversation with one more reply, without tools; with words of our own where there is none."""
        instruction = SUM_UP.format(reason=reason.format(steps=self._most_steps))
        log.warning("A turn of session %s sums up: %s.", self._context.session_key, UNFINISHED_REASONS[reason])
        present = [asked, *conversation.said, {"role": "user", "content": instruction}]
        unfinished = UNFINISHED.format(reason=UNFINISHED_REASONS[reason])
        try:
            reply = await self._ask(past, present, ())
        except ModelError as failure:
            log.warning("The model failed to sum up: %s", failure)
            conversation.reply = unfinished
            conversation.said.append({"role": "assistant", "content": unfinished})
            return conversation
        conversation.end(dataclasses.replace(reply, text=reply.text or unfinished, tool_calls=()))
        return conversation

    async def _ask(
        self, past: list[dict[str, Any]], present: list[dict[str, Any]], tools: Sequence[dict[str, Any]]
    ) -> ModelReply:
        present, shortenings, lightenings = list(present), 0, 0
        while True:
            try:
                reply = await self._complete(past, present, tools)
            except ModelError as failure:
                if failure.kind is not ModelErrorKind.CONTEXT_TOO_LONG:
                    raise
                if past and (shorter := await self._compressed()) is not None:
                    past[:] = shorter
                elif past and shortenings < SHORTENINGS:
                    shorten(past)
                    shortenings += 1
                elif lightenings < SHORTENINGS and lighten(present):
                    lightenings += 1
                else:
                    raise
            else:
                count(reply)
                return self._without_unspoken(reply)

    def _without_unspoken(self, reply: ModelReply) -> ModelReply:
        if self._spoken is None or (text := self._spoken(reply.text)) == reply.text:
            return reply
        return dataclasses.replace(reply, text=text if text or reply.tool_calls else NOTHING_SAID)

    async def _compressed(self) -> list[dict[str, Any]] | None:
        compress, self._compress = self._compress, None
        return await compress() if compress else None

    async def _complete(
        self, past: list[dict[str, Any]], present: list[dict[str, Any]], tools: Sequence[dict[str, Any]]
    ) -> ModelReply:
        told = [{"role": "system", "content": self._prompt}] if self._prompt else []
        messages = [*told, *past, *present]
        if not vision.has_images(messages):
            return await self._request(messages, self._models, tools)
        try:
            return await self._request(messages, self._seeing, tools)
        except ModelError as failure:
            blind = [model for model in self._models if model not in self._seeing]
            is_unseen = failure.kind in (ModelErrorKind.BAD_REQUEST, ModelErrorKind.UNSUPPORTED)
            if not is_unseen and not (blind and failure.remedy.next_model):
                raise
            log.warning("No model took the images of session %s: %s", self._context.session_key, failure)
        return await self._request(vision.without_images(messages), blind or self._models, tools)

    async def _request(
        self, messages: list[dict[str, Any]], models: Sequence[str], tools: Sequence[dict[str, Any]]
    ) -> ModelReply:
        if self._on_text is None:
            return await self._model.complete(messages, models=models, tools=tools, effort=self._effort)
        on_text, text = self._on_text, ""
        on_thought, thought = self._on_thought, ""

        async def on_delta(piece: str) -> None:
            nonlocal text
            text += piece
            await on_text(self._spoken(text) if self._spoken else text)

        async def on_restart() -> None:
            nonlocal text, thought
            text = thought = ""
            await on_text(text)

        def on_idea(piece: str) -> None:
            nonlocal thought
            thought += piece
            if on_thought:
                on_thought(thought)

        return await self._model.complete(
            messages,
            models=models,
            tools=tools,
            effort=self._effort,
            on_delta=on_delta,
            on_restart=on_restart,
            on_thought=on_idea if on_thought else None,
        )

    async def _invoke_tool(self, call: ToolCall, *, reply: int) -> Result:
        """Runs one tool call for this session. `reply` is the number of the model's reply in the turn; ids are those of
        one reply alone.
        """
        if self._on_call:
            self._on_call(call, None)
        text = await handle_function_call(
            self._tools,
            name=call.name,
            arguments=call.arguments,
            context=self._context,
            commit=self._commit,
            call_key=f"{self._turn_id}/{reply}/{hashlib.sha256(call.id.encode()).hexdigest()[:16]}",
            honcho_manager=self._honcho_manager,
            honcho_session_key=self._honcho_session_key,
        )
        can_look = "tool_output" in self._tools.names
        result = presented(text, longest=settings.TOOL_RESULT_MAX_CHARS, can_look=can_look)
        if self._on_call:
            self._on_call(call, result)
        return result


async def handle_function_call(
    tools: Registry,
    *,
    name: str,
    arguments: str,
    context: SessionContext,
    honcho_manager: HonchoSessionManager | None = None,
    honcho_session_key: str = "",
    **kwargs: Any,
) -> str:
    """Runs a tool for the session of `context`. Every handler gets explicitly whose call it is, and whose memory it may
    use, as it does `kwargs`.
    """
    return await tools.dispatch(
        name,
        arguments,
        context=context,
        honcho_manager=honcho_manager,
        honcho_session_key=honcho_session_key,
        **kwargs,
    )


def transcribed(reply: ModelReply) -> dict[str, Any]:
    """The assistant message that stands for `reply`; its content is text also where it only calls tools."""
    return reply.to_message() | {"content": reply.text}


def steering_message(step: Step) -> dict[str, Any]:
    """What people said while the turn ran, as the model gets it: after the results that it had by then."""
    return {"role": "user", "content": step.payload["content"]}


def shorten(past: list[dict[str, Any]]) -> None:
    """Drops the older half of the history, up to the next message of a person."""
    del past[: max(len(past) // 2, 1)]
    while past and past[0]["role"] != "user":
        del past[0]


def lighten(present: list[dict[str, Any]]) -> bool:
    """Cuts each long tool result of the turn to its first half, for this request; false where none is left to cut."""
    is_lighter = False
    for place, message in enumerate(present):
        if message["role"] == "tool" and len(message["content"]) > SHORTEST_RESULT + len(LIGHTENED):
            kept = message["content"].removesuffix(LIGHTENED)
            present[place] = message | {"content": kept[: max(len(kept) // 2, SHORTEST_RESULT)] + LIGHTENED}
            is_lighter = True
    return is_lighter
