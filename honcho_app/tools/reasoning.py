"""Asks Honcho's own model about the person. Slow, and off unless it is switched on."""

from __future__ import annotations

from typing import Any

from gateway_app.agent.registry import Tool, ToolError
from honcho_app import fences
from honcho_app.context import _resolve_session_context

from .handling import PEER, honest, result, whom

LEVELS = ["minimal", "low", "medium", "high", "max"]
LONGEST_QUERY = 10_000
LIMIT_SECONDS = 605.0
"""Longer than HERMES_HONCHO_REASONING_TIMEOUT_SECONDS can be, which is what ends a call."""
NO_ANSWER = "Honcho had no answer."


@honest
async def _handle_honcho_reasoning(args: dict[str, Any], **kw: Any) -> str:
    """The answer of Honcho's model to `args["query"]`."""
    manager, _ = _resolve_session_context(**kw)
    query = args["query"].strip()
    if not query:
        raise ToolError("query is empty; ask a question.")
    level = args.get("reasoning_level", manager.config.dialectic_reasoning_level)
    answer = await manager.reasoning(query, level=level, whom=whom(args))
    return result(fences.fenced(answer[: manager.config.dialectic_max_chars]) if answer.strip() else NO_ANSWER)


TOOL = Tool(
    name="honcho_reasoning",
    description=(
        "Asks the memory's own model a question about the person, in words, where facts alone do not answer it. Takes"
        " many seconds; try honcho_context first."
    ),
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 1, "maxLength": LONGEST_QUERY},
            "reasoning_level": {"type": "string", "enum": LEVELS, "description": "how long it thinks"},
            "peer": PEER,
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    handler=_handle_honcho_reasoning,
    is_repeatable=True,
    is_parallel=True,
    timeout_seconds=LIMIT_SECONDS,
)
