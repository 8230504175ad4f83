"""`/retry`: another answer to the last question."""

from __future__ import annotations

from gateway_app.models import Session
from gateway_app.sessions.asking_again import ask_again

from .base import Call, Command, Effect, Group, Held


async def retry(call: Call) -> Effect:
    """Undoes the last exchange and has the same asked again, as a turn of its own; its answer is the reply."""

    def again(held: Held) -> str:
        session = Session.objects.get(pk=held.session_pk)
        return ask_again(session=session, turn_id=held.turn_id, source=call.source)

    return again


COMMAND = Command(
    name="retry",
    summary="asks your last message again, for another answer.",
    group=Group.CONVERSATION,
    run=retry,
    leaves=True,
)
