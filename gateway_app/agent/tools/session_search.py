"""Searches the transcript of the session that the call belongs to, and no other."""

from __future__ import annotations

import json
from typing import Any

from gateway_app.agent.registry import Tool, error
from gateway_app.sessions import search
from gateway_app.sessions.source import SessionContext
from gateway_app.worker.database import in_database

MOST_RESULTS = 20


async def session_search(args: dict[str, Any], *, context: SessionContext, **kwargs: Any) -> str:
    """Messages of the context's session key that match `args["query"]`, best first."""
    query = str(args.get("query") or "").strip()
    if not query:
        return error("query is empty; give a few words to look for.")
    limit = args.get("limit")
    limit = min(max(limit, 1), MOST_RESULTS) if isinstance(limit, int) else 5
    found = await in_database(search.find, session_key=context.session_key, query=query, limit=limit)
    return json.dumps(
        {
            "results": [
                {"when": hit.created_at.isoformat(), "role": hit.role, "text": hit.content[:1000]} for hit in found
            ]
        }
    )


TOOL = Tool(
    name="session_search",
    description="Full-text search in this conversation's earlier messages, also those no longer in view.",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "words to look for; all must occur"},
            "limit": {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    handler=session_search,
    is_repeatable=True,
    is_parallel=True,
)
