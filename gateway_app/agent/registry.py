"""The tools that the agent may call, by name."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from gateway_app.lanes import LaneLost
from gateway_app.models.question import QuestionKind
from gateway_app.sessions import tokens

from . import arguments
from .model_reply import storable
from .tool_error import ToolError

__all__ = ["Registry", "Tool", "ToolError", "error"]

log = logging.getLogger(__name__)

FAILED = "The tool failed."
"""All that the model learns of an error that the tool did not mean to show: others may hold paths and secrets."""
CANCEL_SECONDS = 2.0
"""A tool that is told to stop has so long to do it; then it is left to itself and the turn goes on."""
LARGEST_RESULT = 5_000_000
"""Characters of a result that are kept at all. The model gets a part of it (`results.presented`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A tool: its schema for the model, and `handler(args, **kwargs)`, which returns the result as text.

    The handler gets arguments that fit `parameters`. What it raises as `ToolError` the model reads; of anything else
    only that the tool failed.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    handler: Callable[..., Awaitable[str]]
    is_repeatable: bool = False
    """Running it twice does no harm; one that is not is never run again after a crash."""
    is_parallel: bool = False
    """It only reads, so that it may run beside others of the same reply."""
    needs_approval: bool = False
    """It runs only where the person approves the call."""
    is_question: bool = False
    """Its call is a question to the person, and their answer the result; the handler is never run."""
    timeout_seconds: float | None = None
    """Longest that it may take; None is TOOL_TIMEOUT_SECONDS."""

    @property
    def schema(self) -> dict[str, Any]:
        """The tool in chat-completions form."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


class Registry:
    """Tools by name. Raises ValueError where two share one."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ValueError(f"There are two tools {tool.name!r}; each name is one tool's.")
            self._tools[tool.name] = tool

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._tools)

    @functools.cached_property
    def schemas(self) -> list[dict[str, Any]]:
        """The tools in chat-completions form."""
        return [tool.schema for tool in self._tools.values()]

    @functools.cached_property
    def tokens(self) -> int:
        """What the schemas cost with every request, estimated."""
        return tokens.estimate(json.dumps(self.schemas, ensure_ascii=False)) if self._tools else 0

    def only(self, names: frozenset[str]) -> Registry:
        """Those of the tools that are among `names`."""
        return Registry(tool for name, tool in self._tools.items() if name in names)

    def needing_approval(self, names: frozenset[str]) -> Registry:
        """These tools, of which also those among `names` need an approval; one that asks by itself does not."""
        return Registry(
            dataclasses.replace(tool, needs_approval=True) if name in names and not tool.is_question else tool
            for name, tool in self._tools.items()
        )

    def without_questions(self) -> Registry:
        """Those of the tools that do not ask the person something by themselves."""
        return Registry(tool for tool in self._tools.values() if not tool.is_question)

    def joined(self, tools: Iterable[Tool]) -> Registry:
        """These tools, and `tools` after them."""
        return Registry([*self._tools.values(), *tools])

    def is_repeatable(self, name: str) -> bool:
        """Whether a call of this name may be made again; one of a tool that there is not does nothing."""
        return name not in self._tools or self._tools[name].is_repeatable

    def is_parallel(self, name: str) -> bool:
        """Whether a call of this name may be under way beside others; one of a tool that there is not may."""
        return name not in self._tools or self._tools[name].is_parallel

    def asks(self, name: str) -> QuestionKind | None:
        """What a person is asked before a call of this name has a result, if anything."""
        tool = self._tools.get(name)
        if tool is None:
            return None
        if tool.is_question:
            return QuestionKind.CLARIFY
        return QuestionKind.APPROVAL if tool.needs_approval else None

    def fitted(self, name: str, args: str) -> dict[str, Any] | None:
        """The arguments with which the tool would run; None where they do not fit it."""
        try:
            return arguments.read(args, schema=self._tools[name].parameters).values
        except ToolError:
            return None

    async def dispatch(self, name: str, args: str, **kwargs: Any) -> str:
        """Runs the tool with `args`, the JSON text that the model wrote. Every failure becomes a result for the model.

        `kwargs` carry the call's context; a handler takes whose call it is from them and from nowhere else. Raises
        `LaneLost`, where the turn is another worker's by now.
        """
        tool = self._tools.get(name)
        if tool is None:
            return error(f"There is no tool {name[:80]!r}; there are: {', '.join(sorted(self._tools))}.")
        try:
            read = arguments.read(args, schema=tool.parameters)
            result = await _run(tool, read.values, kwargs)
        except ToolError as failure:
            return error(str(failure))
        except LaneLost:
            raise
        except Exception:  # whatever a tool does, the turn goes on
            log.exception("Tool %s failed.", name)
            return error(FAILED)
        return "\n\n".join([as_text(result), *read.notes])


async def _run(tool: Tool, values: dict[str, Any], kwargs: dict[str, Any]) -> object:
    """The handler's result. Raises what it raises, and `ToolError` where it takes too long or ends itself."""
    limit = settings.TOOL_TIMEOUT_SECONDS if tool.timeout_seconds is None else tool.timeout_seconds
    task = asyncio.ensure_future(tool.handler(values, **kwargs))
    try:
        await asyncio.wait({task}, timeout=limit)
        if not task.done():
            log.warning("Tool %s was stopped after %g s.", tool.name, limit)
            raise ToolError(
                f"The tool took longer than {limit:g} s and was stopped; whether it took effect is unknown."
            )
        if task.cancelled():
            log.error("Tool %s cancelled itself.", tool.name)
            raise ToolError(FAILED)
        return task.result()
    finally:
        if not task.done():
            task.add_done_callback(_forget)
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_SECONDS)


def _forget(task: asyncio.Future[Any]) -> None:
    """Takes note of how a stopped tool ended, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()


def as_text(result: object) -> str:
    """What a handler returned as text that any column takes, cut to LARGEST_RESULT."""
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
    return storable(text[:LARGEST_RESULT])


def error(text: str) -> str:
    """A tool result that tells the model what went wrong."""
    return json.dumps({"error": text}, ensure_ascii=False)
