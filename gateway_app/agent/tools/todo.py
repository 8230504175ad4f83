"""The session's list of things to do, by which the agent keeps its bearings in long work."""

from __future__ import annotations

import functools
import json
from typing import Any

from gateway_app.agent.registry import Tool, ToolError
from gateway_app.models import Session, TodoList
from gateway_app.sessions.source import SessionContext
from gateway_app.worker.database import in_database

MOST_ITEMS = 100
"""Things on one list; a longer one gives nobody their bearings."""
LONGEST_ITEM = 500
"""Characters of one thing to do."""
LONGEST_ID = 40
STATUSES = ["pending", "in_progress", "completed", "cancelled"]

Item = dict[str, str]


async def todo(args: dict[str, Any], *, context: SessionContext, commit: Any, **kwargs: Any) -> str:
    """Replaces the list of the context's session, or changes single items of it, or shows it where none are given."""
    items = args.get("items")
    if items is None:
        found = await in_database(read, session_id=context.session_id)
    else:
        found = await commit(
            functools.partial(store, session_id=context.session_id, items=items, is_merged=args.get("merge", False))
        )
    left = sum(item["status"] in ("pending", "in_progress") for item in found)
    return json.dumps({"items": found, "open": left}, ensure_ascii=False)


def read(*, session_id: str) -> list[Item]:
    """The session's list."""
    row = TodoList.objects.filter(session__session_id=session_id).first()
    return list(row.items) if row else []


def store(*, session_id: str, items: list[Item], is_merged: bool) -> list[Item]:
    """Writes the list and returns it; with `is_merged`, items of the same id are changed and others added.

    Must run in a transaction that holds the session's lane. Raises `ToolError` where the list becomes too long.
    """
    session = Session.objects.get(session_id=session_id)
    found = {item["id"]: item for item in read(session_id=session_id)} if is_merged else {}
    for item in items:
        known = found.get(item["id"], {"id": item["id"], "content": "", "status": "pending"})
        found[item["id"]] = known | item
    if len(found) > MOST_ITEMS:
        raise ToolError(f"The list would have {len(found)} items; allowed: {MOST_ITEMS}.")
    if empty := [item["id"] for item in found.values() if not item["content"].strip()]:
        raise ToolError(f"Without content: {', '.join(empty)}.")
    TodoList.objects.update_or_create(session=session, defaults={"items": list(found.values())})
    return list(found.values())


TOOL = Tool(
    name="todo",
    description=(
        "Your list of things to do in this conversation. Without items it shows the list. With items it replaces the"
        " list; with merge it changes the items of the same id and adds the others. Use it for work of several steps."
    ),
    parameters={
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "maxItems": MOST_ITEMS,
                "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string", "minLength": 1, "maxLength": LONGEST_ID},
                        "content": {"type": "string", "maxLength": LONGEST_ITEM},
                        "status": {"type": "string", "enum": STATUSES, "description": "pending if left out"},
                    },
                    "required": ["id"],
                    "additionalProperties": False,
                },
            },
            "merge": {"type": "boolean", "description": "change the list instead of replacing it; false"},
        },
        "additionalProperties": False,
    },
    handler=todo,
    is_repeatable=True,
)
