"""The card: what is always worth knowing of a person, or of how they want the agent to be."""

from __future__ import annotations

from typing import Any

from gateway_app.agent.registry import Tool
from honcho_app.context import _resolve_session_context
from honcho_app.manager import LONGEST_FACT, MOST_FACTS

from .handling import PEER, honest, recalled, result, whom

NO_CARD = "There is no card yet. It is written by calling this tool with card."


@honest
async def _handle_honcho_profile(args: dict[str, Any], **kw: Any) -> str:
    """Reads the card, or replaces it by `args["card"]`."""
    manager, _ = _resolve_session_context(**kw)
    if "card" in args:
        card = await manager.set_profile(whom(args), args["card"])
        return result("The card was replaced." if card else "The card was cleared.", card=card)
    card = await manager.profile(whom(args))
    return recalled(card) if card else result([], hint=NO_CARD)


TOOL = Tool(
    name="honcho_profile",
    description=(
        "The card of the person: the facts that are always worth knowing, such as name, role, lasting preferences."
        " Reads it; with card it replaces the whole card, so read it first and keep what still holds."
    ),
    parameters={
        "type": "object",
        "properties": {
            "peer": PEER,
            "card": {
                "type": "array",
                "items": {"type": "string", "maxLength": LONGEST_FACT},
                "maxItems": MOST_FACTS,
                "description": "the new card, one fact each; an empty list clears it",
            },
        },
        "additionalProperties": False,
    },
    handler=_handle_honcho_profile,
    is_repeatable=True,
)
