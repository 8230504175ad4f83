"""One reply's tool calls: which are run, in what order and beside which others, and what is journaled when.

Calls run in segments, in the order in which the model made them: calls in a row of tools that only read are a segment
and run at once, any other is one by itself. Results stand in the transcript in the order of the calls. In the journal
they stand in the order in which they ended, each committed as soon as it is there (together with others that ended
meanwhile): of what is under way at a crash only what had not ended is run again. What a segment starts and may not be
repeated is journaled as started before, in one commit, with the results of the segment before it. Calls about which a
person has to be asked come last: once all others have ended the turn parks, and goes on with the answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from django.conf import settings

from gateway_app.models.question import QuestionKind
from gateway_app.models.turn import StepKind
from gateway_app.turns.journal import Step

from . import asking
from .asking import Answers, Ask, Parked, Permit
from .model_reply import ModelReply, ToolCall
from .registry import Registry, error
from .results import Result

Record = Callable[[Sequence[Step], Sequence[Result]], Awaitable[None]]
"""Writes journal steps, and the whole of results that were cut, in one fenced commit before anything further begins."""
Invoke = Callable[[ToolCall], Awaitable[Result]]
"""Runs one call."""

INTERRUPTED = "The tool was interrupted; whether it took effect is unknown. Do not run it again without checking."
NOT_RUN = "The tool has no result: the person interrupted before it was run to its end."
CUT_OFF = (
    "Not run: your reply reached its length limit in the middle of this call. Make the call again, with less in it."
)
REPEATED = "Not run: this very call was made {count} times in a row. Its result is above."
REPEATED_NOTE = (
    "[This very call was made {count} times in a row. Do not make it again: use its result, try another way, or"
    " answer.]"
)
REPEATS_NOTED = 3
"""Identical calls in a row from which on the model is told so. Two may be a second look."""
REPEATS_RUN = 5
"""Identical calls in a row that are run. One more is not, and the turn sums up: the model is caught."""


class Repeats:
    """Counts identical calls in a row, over all replies of a turn."""

    def __init__(self) -> None:
        self._last: object = None
        self._count = 0

    @property
    def is_stuck(self) -> bool:
        """Whether the newest call was one too many."""
        return self._count > REPEATS_RUN

    def take(self, call: ToolCall) -> int:
        """Which one in a row this call is; the first is 1."""
        same = (call.name, _canonical(call.arguments))
        self._count = self._count + 1 if same == self._last else 1
        self._last = same
        return self._count


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


@dataclass(slots=True)
class ToolRound:
    """The calls of one reply, and how far they have come. All of it follows from the journal."""

    reply: ModelReply
    counts: list[int]
    """For each call, which one in a row of identical ones it is."""
    started: set[str] = field(default_factory=set)
    results: dict[str, str] = field(default_factory=dict)
    """By the calls' ids."""
    number: int = 0
    """Which of the turn's model replies it is, from 1."""

    @classmethod
    def of(cls, reply: ModelReply, *, repeats: Repeats, number: int = 0) -> ToolRound:
        return cls(reply, [repeats.take(call) for call in reply.tool_calls], number=number)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The results in the order of the calls, in chat-completions form."""
        return [
            {"role": "tool", "tool_call_id": call.id, "content": self.results[call.id]}
            for call in self.reply.tool_calls
            if call.id in self.results
        ]

    def replay(self, step: Step) -> None:
        """Takes note of a step of the journal, that a call was started or what it came to."""
        call_id = step.payload["tool_call_id"]
        if step.kind is StepKind.TOOL_STARTED:
            self.started.add(call_id)
        else:
            self.results[call_id] = step.payload["content"]

    def abandon(self) -> list[Step]:
        """Gives each call that has no result one that says so; returns their steps, which are still to be journaled."""
        return [
            self._take(call, Result(error(INTERRUPTED if call.id in self.started else NOT_RUN)))
            for call in self.reply.tool_calls
            if call.id not in self.results
        ]

    async def run(
        self,
        tools: Registry,
        *,
        invoke: Invoke,
        record: Record,
        opening: Sequence[Step] = (),
        answers: Answers = MappingProxyType({}),
        permit: Permit | None = None,
    ) -> None:
        """Gets a result for each call that has none. `opening` are steps that are still to be journaled.

        Raises `Parked`, once nothing else is to be done, where calls wait for a person of whom nothing is in `answers`,
        and whose tools `permit` does not let run.
        """
        steps, wholes = list(opening), list[Result]()
        open_calls = [call for call in self.reply.tool_calls if call.id not in self.results]
        known = {call.id: text for call in open_calls if (text := self._known(call, tools, answers)) is not None}
        for call in open_calls:
            if call.id in known:
                steps.append(self._take(call, Result(known[call.id])))
        left = [call for call in open_calls if call.id not in known]
        asks = await self._asks([call for call in left if (self.number, call.id) not in answers], tools, permit)
        asked = {ask.call.id for ask in asks}
        for segment in segments([call for call in left if call.id not in asked], tools):
            steps += [_started(call) for call in segment if not tools.is_repeatable(call.name)]
            if steps:
                await record(steps, wholes)
            steps, wholes = await self._run_segment(segment, invoke=invoke, record=record)
        if steps:
            await record(steps, wholes)
        if asks:
            raise Parked(asks, reply=self.number)

    async def _asks(self, calls: Sequence[ToolCall], tools: Registry, permit: Permit | None) -> list[Ask]:
        """What of these calls a person has to be asked."""
        asks = [ask for call in calls if (ask := asking.about(call, tools))]
        approvals = {ask.call.name for ask in asks if ask.kind is QuestionKind.APPROVAL}
        permitted = await permit(approvals) if approvals and permit else frozenset()
        return [ask for ask in asks if ask.kind is not QuestionKind.APPROVAL or ask.call.name not in permitted]

    async def _run_segment(
        self, segment: Sequence[ToolCall], *, invoke: Invoke, record: Record
    ) -> tuple[list[Step], list[Result]]:
        """Runs the calls at once. Returns what ended last, which is not journaled yet."""
        tasks = [asyncio.create_task(_invoked(invoke, call)) for call in segment]
        pending = set(tasks)
        try:
            while True:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                ended = [(call, task.result()) for call, task in zip(segment, tasks, strict=True) if task in done]
                steps = [self._take(call, self._noted(call, result)) for call, result in ended]
                wholes = [result for _, result in ended if result.reference]
                if not pending:
                    return steps, wholes
                await record(steps, wholes)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def _take(self, call: ToolCall, result: Result) -> Step:
        self.results[call.id] = result.content
        return Step(StepKind.TOOL_RESULT, {"tool_call_id": call.id, "content": result.content})

    def _known(self, call: ToolCall, tools: Registry, answers: Answers) -> str | None:
        """What the call comes to without being run; None where it is to be run, or asked about."""
        place = self._place(call)
        if call.id in self.started and not (call.name in tools.names and tools.is_repeatable(call.name)):
            return error(INTERRUPTED)
        if self.reply.finish_reason == "length" and place == len(self.reply.tool_calls) - 1:
            return error(CUT_OFF)
        if place >= settings.TOOLS_MAX_CALLS:
            return error(
                f"Not run: one reply may call {settings.TOOLS_MAX_CALLS} tools, and this one called"
                f" {len(self.reply.tool_calls)}. Call what is still needed in your next reply."
            )
        if self.counts[place] > REPEATS_RUN:
            return error(REPEATED.format(count=self.counts[place]))
        answer = answers.get((self.number, call.id))
        return answer.result if answer else None

    def _place(self, call: ToolCall) -> int:
        return next(place for place, found in enumerate(self.reply.tool_calls) if found.id == call.id)

    def _noted(self, call: ToolCall, result: Result) -> Result:
        count = self.counts[self._place(call)]
        if count < REPEATS_NOTED:
            return result
        return Result(f"{result.content}\n\n{REPEATED_NOTE.format(count=count)}", result.reference, result.whole)


def segments(calls: Sequence[ToolCall], tools: Registry) -> list[list[ToolCall]]:
    """The calls in their order, cut into what may run at once: TOOLS_PARALLEL of tools that only read, or one."""
    found: list[list[ToolCall]] = []
    for call in calls:
        joins = found and tools.is_parallel(call.name) and tools.is_parallel(found[-1][-1].name)
        if joins and len(found[-1]) < settings.TOOLS_PARALLEL:
            found[-1].append(call)
        else:
            found.append([call])
    return found


async def _invoked(invoke: Invoke, call: ToolCall) -> Result:
    return await invoke(call)


def _started(call: ToolCall) -> Step:
    return Step(StepKind.TOOL_STARTED, {"tool_call_id": call.id})
