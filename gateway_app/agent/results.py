"""What the model gets of a tool's result, and what is kept of it for later."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from gateway_app.models import ToolOutput
from gateway_app.statements import Statement, insert

TABLE = ToolOutput._meta.db_table
KEPT_PER_SESSION = 20
"""Long results that a session keeps, the newest: 100 MB at the worst, and models look back a few at the most."""
HEAD_SHARE = 0.75
"""Of what the model gets, the part that is taken from the beginning; errors tend to stand at the end."""


@dataclass(frozen=True, slots=True)
class Result:
    """A tool's result: what the model gets, and, where that is not all, the whole with the name it is kept under."""

    content: str
    reference: str = ""
    whole: str = ""


def presented(text: str, *, longest: int, can_look: bool) -> Result:
    """`text`, or its head and tail with a line between them that says what is left out.

    `can_look` says that the model has a tool to see the rest.
    """
    if len(text) <= longest:
        return Result(text)
    head = int(longest * HEAD_SHARE)
    tail = longest - head
    reference = secrets.token_hex(8)
    line = f"[{len(text) - longest:,} of {len(text):,} characters left out, from offset {head:,} on."
    if can_look:
        line += f' To see them: tool_output with reference "{reference}" and an offset.'
    return Result(f"{text[:head]}\n\n{line}]\n\n{text[-tail:]}", reference, text)


def keeping(results: Sequence[Result], *, session_pk: int, turn_id: int) -> list[Statement]:
    """The statements that keep the whole of `results`, for the transaction that journals them."""
    rows = [(session_pk, turn_id, result.reference, result.whole) for result in results if result.reference]
    if not rows:
        return []
    newest = f"SELECT id FROM {TABLE} WHERE session_id = %s ORDER BY id DESC LIMIT %s"
    return [
        insert(ToolOutput, columns=("session_id", "turn_id", "reference", "text"), rows=rows),
        Statement(
            f"DELETE FROM {TABLE} WHERE session_id = %s AND id < (SELECT MIN(id) FROM ({newest}) newest)",
            [session_pk, session_pk, KEPT_PER_SESSION],
        ),
    ]
