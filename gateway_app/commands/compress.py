"""`/compress`: sums up the older part of the conversation at once, and not only when it has become too long."""

from __future__ import annotations

from gateway_app.models import Session
from gateway_app.turns.compression import Result, compress
from gateway_app.worker.database import in_database
from gateway_app.worker.http import http_session

from .base import Call, Command, Group

REPLIES = {
    Result.DONE: "Done: from now on I get the older part of this conversation as a summary. Nothing was deleted.",
    Result.NOTHING: "There is nothing to sum up: this conversation is short, or its older part is summed up already.",
    Result.BUSY: "A summary is being written at this moment.",
    Result.VOID: "The conversation has changed meanwhile, so I did not keep the summary. Please try again.",
    Result.FAILED: "No summary could be made. The conversation is as it was. Please try again later.",
    Result.OFF: "Conversations are not summed up here.",
}


async def run(call: Call) -> str:
    """Compresses the history of the session that the call is in."""
    session_pk = await in_database(_session_pk, call.context.session_id)
    result = await compress(session_pk=session_pk, context=call.context, http=http_session(), is_asked=True)
    return REPLIES[result]


def _session_pk(session_id: str) -> int:
    return Session.objects.values_list("pk", flat=True).get(session_id=session_id)


COMMAND = Command(
    name="compress",
    summary="sums up the older part of this conversation for the agent.",
    group=Group.CONVERSATION,
    run=run,
)
