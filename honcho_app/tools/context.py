"""What is known altogether: of the person, and of the conversation so far."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway_app.agent.registry import Tool
from honcho_app import fences
from honcho_app.context import _resolve_session_context
from honcho_app.manager import Recollection

from .handling import PEER, honest, result, whom

TOKENS = 1500
"""What the whole may cost."""
CONCLUSIONS = 25
RECENT = 5
LONGEST_RECENT = 200
NOTHING = "Nothing is known yet."


@honest
async def _handle_honcho_context(args: dict[str, Any], **kw: Any) -> str:
    """Summary, representation, card and the last messages, the nearer to `args["query"]` the better."""
    manager, _ = _resolve_session_context(**kw)
    query = args.get("query", "").strip()
    found = await manager.context(whom(args), tokens=TOKENS, query=query, max_conclusions=CONCLUSIONS)
    text = "\n\n".join(_parts(found))
    return result(fences.fenced(fences.shortened(text, most=TOKENS)) if text else NOTHING)


def _parts(found: Recollection) -> Iterator[str]:
    """What there is, the most useful first: the rest may be cut off."""
    if found.card:
        yield "## Card\n" + "\n".join(f"- {fact}" for fact in found.card)
    if found.summary:
        yield f"## Summary\n{found.summary}"
    if found.representation:
        yield f"## Representation\n{found.representation}"
    if found.messages:
        lines = (f"[{message.who}] {message.text[:LONGEST_RECENT]}" for message in found.messages[-RECENT:])
        yield "## Recent messages\n" + "\n".join(lines)


TOOL = Tool(
    name="honcho_context",
    description=(
        "What long-term memory knows of the person altogether, and of this conversation: card, summary, conclusions,"
        " last messages. With query the conclusions that have to do with it."
    ),
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "maxLength": 2000, "description": "what it is about"},
            "peer": PEER,
        },
        "additionalProperties": False,
    },
    handler=_handle_honcho_context,
    is_repeatable=True,
    is_parallel=True,
)
