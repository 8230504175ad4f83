"""`/title`: what the conversation is called."""

from __future__ import annotations

from gateway_app.models import Session
from gateway_app.sessions import titles

from .base import Call, Command, Effect, Group, Held


async def name(call: Call) -> str | Effect:
    """Gives the session a title, or says which one it has."""
    try:
        title = titles.clean(call.arguments)
    except titles.BadTitle as error:
        return str(error)

    def rename(held: Held) -> str:
        if title:
            titles.rename(session_pk=held.session_pk, title=title)
            return f"This conversation is called “{title}” now."
        session = Session.objects.get(pk=held.session_pk)
        if session.title:
            return f"This conversation is called “{session.title}”. `/title <text>` changes that."
        return "This conversation has no title. `/title <text>` gives it one."

    return rename


COMMAND = Command(
    name="title",
    summary="gives the conversation a title, by which it can be resumed.",
    group=Group.CONVERSATION,
    usage="[<title>]",
    run=name,
)
