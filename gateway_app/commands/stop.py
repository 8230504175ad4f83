"""`/stop`: ends what the agent is at. The session stays, and what was said so far with it."""

from __future__ import annotations

from gateway_app.turns import stopping
from gateway_app.turns.stopping import Asked

from .base import Call, Command

NOTHING = "There is nothing to stop: I am not working on anything here."
REPLIES = {
    Asked.STOPPING: "I stop.",
    Asked.ALREADY: "I am stopping already.",
    Asked.WITHDRAWN: "I stop. I had not begun yet, so your message is left unanswered.",
    Asked.NOTHING: NOTHING,
}


def stop(call: Call) -> str:
    """Stops the running turn, whoever of the chat it answers; said once that is a row."""
    if call.place is None:  # it waited for its turn, so that nothing runs but itself
        return NOTHING
    return REPLIES[stopping.ask(session_key=call.context.session_key, by=call.source, before=call.place)]


COMMAND = Command(name="stop", summary="stops what I am working on; our conversation stays.", answer=stop)
