"""`/queue`: a message that is answered by itself, after what came before it."""

from __future__ import annotations

from gateway_app.models.inbox import BusyMode

from .base import Call, Command, Group


def acknowledge(call: Call) -> str:
    """Speaks of the message that was written in the same transaction."""
    if not call.arguments:
        return f"What shall I queue? Write it behind the command: `/{call.name} and then check the figures`."
    return "Queued. I answer it by itself, after what came before it."


COMMAND = Command(
    name="queue",
    aliases=("q",),
    summary="takes what follows as a message that is answered by itself, afterwards.",
    group=Group.WORK,
    usage="<message>",
    answer=acknowledge,
    takes=BusyMode.QUEUE,
)
