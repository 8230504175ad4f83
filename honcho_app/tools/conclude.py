"""Writes conclusions down, lists them, and deletes those that turned out wrong."""

from __future__ import annotations

import json
from typing import Any

from gateway_app.agent.registry import Tool, ToolError
from honcho_app.context import _resolve_session_context
from honcho_app.fences import AS_DATA
from honcho_app.manager import LONGEST_CONCLUSION, HonchoSessionManager, Whom
from honcho_app.names import LONGEST

from .handling import PEER, honest, result, whom

LISTED = 20
ONE_OF = "Give exactly one of conclusion, delete_id and list (true)."
NO_SUCH = "There is no such conclusion among this person's; list shows those that there are."


@honest
async def _handle_honcho_conclude(args: dict[str, Any], **kw: Any) -> str:
    """Does the one thing that `args` ask for."""
    manager, _ = _resolve_session_context(**kw)
    asked = [name for name in ("conclusion", "delete_id", "list") if args.get(name)]
    if len(asked) != 1 or ("query" in args and asked != ["list"]):
        raise ToolError(ONE_OF + (" query only goes with list." if "query" in args else ""))
    if asked == ["conclusion"]:
        made = await manager.conclude(whom(args), args["conclusion"])
        return result("It was written down.", id=made.id)
    if asked == ["delete_id"]:
        return await _deleted(manager, whom(args), args["delete_id"])
    found = await manager.conclusions(whom(args), query=args.get("query", "").strip(), limit=LISTED)
    return json.dumps({"about": AS_DATA, "conclusions": [each._asdict() for each in found]}, ensure_ascii=False)


async def _deleted(manager: HonchoSessionManager, about: Whom, conclusion_id: str) -> str:
    try:
        is_deleted = await manager.delete_conclusion(about, conclusion_id)
    except ValueError as error:
        raise ToolError(f"delete_id: {error}") from None
    if not is_deleted:
        raise ToolError(NO_SUCH)
    return result("It was deleted.")


TOOL = Tool(
    name="honcho_conclude",
    description=(
        "Conclusions in long-term memory, one lasting fact each. Give exactly one of: conclusion, to write one down;"
        " list, to see the newest or those near to query, with their ids; delete_id, to delete one that is wrong or"
        " that the person wants forgotten. Never write down secrets."
    ),
    parameters={
        "type": "object",
        "properties": {
            "conclusion": {"type": "string", "maxLength": LONGEST_CONCLUSION, "description": "one fact, in a sentence"},
            "delete_id": {"type": "string", "maxLength": LONGEST, "description": "the id as list shows it"},
            "list": {"type": "boolean"},
            "query": {"type": "string", "maxLength": 2000, "description": "with list: what they are to be about"},
            "peer": PEER,
        },
        "additionalProperties": False,
    },
    handler=_handle_honcho_conclude,
    is_repeatable=True,  # what is there already is not written again
)
