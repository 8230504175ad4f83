"""Searches what was said, in conversations that the person took part in."""

from __future__ import annotations

from typing import Any

from gateway_app.agent.registry import Tool, ToolError
from honcho_app import fences
from honcho_app.context import _resolve_session_context
from honcho_app.manager import Excerpt

from .handling import PEER, honest, result, whom

TOKENS = 800
MOST_TOKENS = 2000
LONGEST_EXCERPT = 1200
LEAST_RESULTS, MOST_RESULTS = 3, 20
CHARACTERS_EACH = 300
"""What a result has on average, by which their number follows from the tokens that they may cost."""
NOTHING = "Nothing was found."


@honest
async def _handle_honcho_search(args: dict[str, Any], **kw: Any) -> str:
    """Messages near to `args["query"]`, cut to `args["max_tokens"]`."""
    manager, _ = _resolve_session_context(**kw)
    query = args["query"].strip()
    if not query:
        raise ToolError("query is empty; say what to look for.")
    most = args.get("max_tokens", TOKENS)
    limit = max(LEAST_RESULTS, min(MOST_RESULTS, most * 4 // CHARACTERS_EACH))
    found = await manager.search(query, limit=limit, whom=whom(args) if "peer" in args else None)
    if not found:
        return result(NOTHING)
    return result(fences.fenced(fences.shortened("\n\n".join(map(_line, found)), most=most)))


def _line(found: Excerpt) -> str:
    place = "this conversation" if found.is_own_session else "another conversation"
    return f"[{found.who}, {found.when[:10]}, {place}] {found.text[:LONGEST_EXCERPT]}"


TOOL = Tool(
    name="honcho_search",
    description=(
        "Searches long-term memory by meaning: what was said before in this person's conversations with you. Gives"
        " excerpts as they were said."
    ),
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "what to look for"},
            "max_tokens": {
                "type": "integer",
                "minimum": 50,
                "maximum": MOST_TOKENS,
                "description": f"what the excerpts may cost; {TOKENS} if left out",
            },
            "peer": {
                "type": "string",
                "enum": PEER["enum"],
                "description": "only what this one said: user, the person you speak with, or ai, you",
            },
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    handler=_handle_honcho_search,
    is_repeatable=True,
    is_parallel=True,
)
