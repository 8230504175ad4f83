"""Searches what was said earlier: in the call's own session, and in a direct message in the person's other ones."""

from __future__ import annotations

import json
from typing import Any

from gateway_app.agent.registry import Tool, ToolError
from gateway_app.sessions import search
from gateway_app.sessions.source import SessionContext
from gateway_app.worker.database import in_database

MOST_RESULTS = 20
LONGEST_HIT = 1000
"""Characters of a message that are shown."""


async def session_search(args: dict[str, Any], *, context: SessionContext, **kwargs: Any) -> str:
    """Messages that match `args["query"]`, best first, of the sessions that the context may look into."""
    query = args["query"].strip()
    if not query:
        raise ToolError("query is empty; give a few words to look for.")
    found = await in_database(
        search.find, scope=search.scope_of(context), query=query, limit=min(args.get("limit", 5), MOST_RESULTS)
    )
    results = [
        {
            "when": hit.created_at.isoformat(),
            "role": hit.role,
            "conversation": "this one" if hit.session.session_key == context.session_key else hit.session.session_id,
            "text": hit.content[:LONGEST_HIT],
        }
        for hit in found
    ]
    return json.dumps({"results": results}, ensure_ascii=False)


TOOL = Tool(
    name="session_search",
    description=(
        "Full-text search in this conversation's earlier messages, also those no longer in view, and in a direct"
        " message in the person's other conversations with you."
    ),
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "words to look for; all must occur"},
            "limit": {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS, "description": "5 if left out"},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    handler=session_search,
    is_repeatable=True,
    is_parallel=True,
)
