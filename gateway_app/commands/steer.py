"""`/steer`: a message that joins what the agent is at."""

from __future__ import annotations

from gateway_app.models.inbox import BusyMode

from .base import Call, Command, Group


def acknowledge(call: Call) -> str:
    """Speaks of the message that was written in the same transaction."""
    if not call.arguments:
        return f"What shall I take into account? Write it behind the command: `/{call.name} only the last year`."
    return "Noted. I take it into account at my next step, or answer it next."


COMMAND = Command(
    name="steer",
    summary="takes what follows into what I am working on.",
    group=Group.WORK,
    usage="<message>",
    answer=acknowledge,
    takes=BusyMode.STEER,
)
