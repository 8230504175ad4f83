"""`/branch`: goes on in a second conversation that begins with what was said so far."""

from __future__ import annotations

from gateway_app.models import Session, TodoList
from gateway_app.models.session import EndReason
from gateway_app.sessions import lineage, rotation, titles

from .base import Call, Command, Effect, Group, Held


async def branch(call: Call) -> str | Effect:
    """A new session that starts from the transcript so far; the present one stays as it is."""
    try:
        title = titles.clean(call.arguments)
    except titles.BadTitle as error:
        return str(error)

    def begin(held: Held) -> str:
        session = Session.objects.get(pk=held.session_pk)
        if lineage.is_empty(session):
            return "There is nothing to branch off from: nothing has been said in this conversation."
        new = rotation.rotate(
            held.claim,
            session=session,
            reason=EndReason.SWITCH,
            by=call.source.user_id,
            turn_id=held.turn_id,
            title=title,
            inherited=lineage.so_far(session),
            compression_id=session.compression_id,
        )
        for found in TodoList.objects.filter(session=session):
            TodoList.objects.create(session=new, items=found.items)
        named = f", called “{title}”" if title else ""
        return (
            f"This is a branch{named}: it begins with all that was said so far, and what is said from now on stays in"
            f" it. `/resume {session.session_id}` goes back to where it branched off."
        )

    return begin


COMMAND = Command(
    name="branch",
    summary="goes on in a second conversation, from what was said so far.",
    group=Group.CONVERSATION,
    usage="[<title>]",
    run=branch,
    leaves=True,
)
