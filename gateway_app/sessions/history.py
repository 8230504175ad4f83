"""A session's transcript as the model's message list, newest first until the token budget is spent."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings

from gateway_app.models import TranscriptMessage
from gateway_app.statements import Row, Statement

TABLE = TranscriptMessage._meta.db_table


def reading(*, session_pk: int) -> Statement:
    """The statement that reads the session's newest messages; give its rows to `fitting()`.

    Bounded by HISTORY_MAX_MESSAGES however short the messages are.
    """
    return Statement(
        f"SELECT role, content, tool_calls, tool_call_id, tokens FROM {TABLE}"
        " WHERE session_id = %s ORDER BY id DESC LIMIT %s",
        [session_pk, settings.HISTORY_MAX_MESSAGES],
    )


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
