"""`/resume`: goes back to an earlier conversation of the same people in the same place, and to no other."""

from __future__ import annotations

import functools

from gateway_app.models import Session
from gateway_app.sessions import own, rotation, titles

from . import sessions
from .base import Call, Command, Effect, Group, Held

USAGE = "`/resume <number>` goes back to a conversation: a number of /sessions, a title or an id."
LONGEST_SHOWN = 60
"""Characters of what was asked for that a reply repeats."""


async def resume(call: Call) -> str | Effect:
    """Opens the session that the arguments mean, and puts the present one aside."""
    if not call.arguments:
        return await sessions.show(call)
    return functools.partial(go_back, call)


def go_back(call: Call, held: Held) -> str:
    wanted = " ".join(call.arguments.split())
    found = own.find(session_key=held.claim.key, wanted=wanted)
    if not found:
        plain = "".join(c if c.isprintable() and c != "`" else "?" for c in wanted)
        shown = f"{plain[:LONGEST_SHOWN]}…" if len(plain) > LONGEST_SHOWN else plain
        return f"You have no conversation `{shown}` here. {USAGE}"
    if len(found) > 1:
        several = "\n".join(f"- {titles.shown(session)}: `{session.session_id}`" for session in found)
        return f"Several conversations are called so. Say which, by its id:\n{several}"
    (target,) = found
    if target.pk == held.session_pk:
        return f"You are in {titles.shown(target)} already."
    session = Session.objects.get(pk=held.session_pk)
    by = call.source.user_id
    rotation.switch(held.claim, session=session, target=target, by=by, turn_id=held.turn_id)
    return (
        f"You are back in {titles.shown(target)}, begun {target.started_at:%Y-%m-%d %H:%M} UTC."
        f" `/resume {session.session_id}` goes back to where you were."
    )


COMMAND = Command(
    name="resume",
    summary="goes back to an earlier conversation: a number of /sessions.",
    group=Group.CONVERSATION,
    usage="<number, title or id>",
    run=resume,
    leaves=True,
)
