"""The tools that the agent may call, by name."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

LONGEST_RESULT = 20_000
"""Characters of a tool's result that the model gets."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: its schema for the model, and `handler(args, **kwargs)`, which returns the result as text.

    `is_repeatable` says that running it twice does no harm; one that is not is never run again after a crash.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    handler: Callable[..., Awaitable[str]]
    is_repeatable: bool = False


class Registry:
    """Tools by name."""

    def __init__(self, tools: list[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    def schemas(self) -> list[dict[str, Any]]:
        """The tools in chat-completions form."""
        return [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in self._tools.values()
        ]

    def is_repeatable(self, name: str) -> bool:
        return name in self._tools and self._tools[name].is_repeatable

    async def dispatch(self, name: str, args: str, **kwargs: Any) -> str:
        """Runs the tool with `args`, the JSON text that the model wrote. Every failure becomes a result for the model.

        `kwargs` carry the call's context; a handler takes whose call it is from them and from nowhere else.
        """
        tool = self._tools.get(name)
        if tool is None:
            return error(f"There is no tool {name!r}; there are: {', '.join(sorted(self._tools))}.")
        try:
            values = json.loads(args or "{}")
        except ValueError:
            return error("The arguments are not JSON.")
        if not isinstance(values, dict):
            return error("The arguments must be a JSON object.")
        try:
            return (await tool.handler(values, **kwargs))[:LONGEST_RESULT]
        except Exception:  # whatever a tool does, the turn goes on
            log.exception("Tool %s failed.", name)
            return error("The tool failed.")


def error(text: str) -> str:
    """A tool result that tells the model what went wrong."""
    return json.dumps({"error": text})
