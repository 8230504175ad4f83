"""A session's transcript as the model's message list, newest first until the token budget is spent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from gateway_app.models import TranscriptMessage
from gateway_app.statements import Row, Statement

from .lineage import Part

TABLE = TranscriptMessage._meta.db_table


COLUMNS = "role, content, tool_calls, tool_call_id, tokens"


def reading(*, session_pk: int, inherited: Sequence[Part] = ()) -> Statement:
    """The statement that reads the session's newest messages, and what a branch starts from; for `fitting()`.

    Bounded by HISTORY_MAX_MESSAGES however short the messages are. What was undone is left out.
    """
    most = settings.HISTORY_MAX_MESSAGES
    own = f"FROM {TABLE} WHERE session_id = %s AND undo_id IS NULL ORDER BY id DESC LIMIT %s"
    if not inherited:
        return Statement(f"SELECT {COLUMNS} {own}", [session_pk, most])
    # Each stretch is cut by itself, so that each is the beginning of an index; ids give their common order.
    part = (
        f"FROM {TABLE} WHERE session_id = %s AND id <= %s AND (undo_id IS NULL OR undo_id > %s)"
        " ORDER BY id DESC LIMIT %s"
    )
    stretches = [f"SELECT * FROM (SELECT id, {COLUMNS} {text}) s" for text in (own, *[part] * len(inherited))]
    values = [session_pk, most, *(value for found in inherited for value in (*found, most)), most]
    return Statement(f"SELECT {COLUMNS} FROM ({' UNION ALL '.join(stretches)}) found ORDER BY id DESC LIMIT %s", values)


def fitting(newest_first: list[Row], *, budget: int) -> list[dict[str, Any]]:
    """The messages whose estimated tokens fit `budget`, oldest first, in chat-completions form.

    Starts with a person's message, so that no tool result stands without its call.
    """
    kept: list[dict[str, Any]] = []
    for role, content, tool_calls, tool_call_id, tokens in newest_first:
        budget -= tokens
        if budget < 0:
            break
        kept.append(message(role=role, content=content, tool_calls=tool_calls, tool_call_id=tool_call_id))
    kept.reverse()
    first = next((index for index, found in enumerate(kept) if found["role"] == "user"), len(kept))
    return kept[first:]


def message(*, role: str, content: str, tool_calls: Any = None, tool_call_id: str = "") -> dict[str, Any]:
    """One message in chat-completions form. `tool_calls` may be JSON text, as raw SQL returns it."""
    found: dict[str, Any] = {"role": role, "content": content}
    if tool_calls:
        found["tool_calls"] = json.loads(tool_calls) if isinstance(tool_calls, str) else tool_calls
    if tool_call_id:
        found["tool_call_id"] = tool_call_id
    return found
