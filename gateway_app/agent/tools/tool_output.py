"""Shows more of a result that was too long to be shown whole."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models.functions import Length, Substr

from gateway_app.agent.registry import Tool, ToolError
from gateway_app.models import Session, ToolOutput
from gateway_app.sessions import lineage
from gateway_app.sessions.source import SessionContext
from gateway_app.worker.database import in_database

HEADING = 200
"""Characters that the line above a page takes at most, so that a page is not cut in its turn."""


async def tool_output(args: dict[str, Any], *, context: SessionContext, **kwargs: Any) -> str:
    """A page of the result `args["reference"]` of the context's session, from `args["offset"]` on."""
    longest = settings.TOOL_RESULT_MAX_CHARS - HEADING
    offset = args.get("offset", 0)
    length = min(args.get("length", longest), longest)
    found = await in_database(
        read, session_id=context.session_id, reference=args["reference"], offset=offset, length=length
    )
    if found is None:
        raise ToolError("This conversation has no such result, or no longer: only the newest are kept.")
    page, size = found
    if offset >= size:
        raise ToolError(f"offset is {offset:,}; the result has {size:,} characters.")
    end = offset + len(page)
    more = f"; go on from offset {end}" if end < size else "; this is the end"
    return f"[Characters {offset:,} to {end:,} of {size:,}{more}.]\n\n{page}"


def read(*, session_id: str, reference: str, offset: int, length: int) -> tuple[str, int] | None:
    """A part of a kept result, and the size of the whole; None where the session has none of that name.

    A branch also has those of the sessions that it starts from, since their references stand in its history.
    """
    session = Session.objects.get(session_id=session_id)
    read_from = [session.pk, *(part.session_pk for part in lineage.read(session.inherited))]
    return (
        ToolOutput.objects.filter(session__in=read_from, reference=reference)
        .annotate(page=Substr("text", offset + 1, length), size=Length("text"))
        .values_list("page", "size")
        .first()
    )


TOOL = Tool(
    name="tool_output",
    description="Shows more of an earlier tool result in this conversation of which only the two ends were shown.",
    parameters={
        "type": "object",
        "properties": {
            "reference": {"type": "string", "description": "as the shortened result names it"},
            "offset": {"type": "integer", "minimum": 0, "maximum": 10_000_000, "description": "first character; 0"},
            "length": {"type": "integer", "minimum": 1, "description": "characters; as many as fit if left out"},
        },
        "required": ["reference"],
        "additionalProperties": False,
    },
    handler=tool_output,
    is_repeatable=True,
    is_parallel=True,
)
