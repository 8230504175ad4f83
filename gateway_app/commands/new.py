"""`/new`: puts the conversation aside and begins another one."""

from __future__ import annotations

from gateway_app.models import Session
from gateway_app.models.session import EndReason
from gateway_app.sessions import lineage, rotation, titles

from .base import Call, Command, Effect, Group, Held


async def start(call: Call) -> str | Effect:
    """A new session, with a title where one is given. One in which nothing was said yet is new already."""
    try:
        title = titles.clean(call.arguments)
    except titles.BadTitle as error:
        return str(error)

    def begin(held: Held) -> str:
        session = Session.objects.get(pk=held.session_pk)
        named = f" It is called “{title}”." if title else ""
        if lineage.is_empty(session):
            if title:
                titles.rename(session_pk=session.pk, title=title)
            return f"This is a new conversation already: nothing has been said in it.{named}"
        rotation.rotate(
            held.claim,
            session=session,
            reason=EndReason.RESET,
            by=call.source.user_id,
            turn_id=held.turn_id,
            title=title,
        )
        return (
            f"This is a new conversation.{named} Nothing of the one before is lost:"
            f" `/resume {session.session_id}` goes back to it, and /sessions lists them all."
        )

    return begin


COMMAND = Command(
    name="new",
    aliases=("reset",),
    summary="begins a new conversation, with a title if you give one.",
    group=Group.CONVERSATION,
    usage="[<title>]",
    run=start,
    leaves=True,
)
