"""`/redo`: the way back from /undo."""

from __future__ import annotations

from gateway_app.models import Session
from gateway_app.sessions import undoing

from .base import Call, Command, Effect, Group, Held


async def put_back(call: Call) -> Effect:
    """Puts back what was taken back last."""
    return redo


def redo(held: Held) -> str:
    if undoing.redo(session=Session.objects.get(pk=held.session_pk)) is None:
        return "There is nothing to put back: nothing was taken back since something was said here."
    return "It is back: the agent sees it again."


COMMAND = Command(
    name="redo",
    summary="puts back what /undo took back, while nothing else was said.",
    group=Group.CONVERSATION,
    run=put_back,
)
