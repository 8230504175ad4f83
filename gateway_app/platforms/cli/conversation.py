"""One person's conversation at a terminal: the pipeline's own road, walked within this process."""

from __future__ import annotations

import asyncio
import getpass
import socket
import uuid
from dataclasses import dataclass

from gateway_app import inbox
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.delivery import outbox
from gateway_app.models import InboundMessage
from gateway_app.models.inbox import OPEN_STATES, InboundState
from gateway_app.models.turn import TurnState
from gateway_app.platforms.base import InboundEvent
from gateway_app.questions import answering, wording
from gateway_app.sessions.routing import context_of
from gateway_app.sessions.source import ChatType, SessionSource
from gateway_app.turns.runner import run_session
from gateway_app.worker.database import in_database
from gateway_app.worker.http import close_http_session, http_session

POLL_SECONDS = 0.2


class NotAllowed(Exception):
    """The person at this terminal may not speak to the agent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one message."""

    texts: list[str]
    is_answered: bool
    """False where the texts explain a failure."""


def source_of_terminal(*, conversation: str) -> SessionSource:
    """The source of what is typed here: the system's user on this machine, in the named conversation."""
    user = getpass.getuser()
    return SessionSource(
        platform="cli",
        chat_id=f"{user}@{socket.gethostname()}/{conversation}",
        chat_type=ChatType.DM,
        chat_name=conversation,
        user_id=user,
        user_name=user,
    )


async def ask(text: str, *, source: SessionSource) -> Answer:
    """Puts `text` through the inbox and runs its turn here; waits where a worker of the fleet was faster.

    A question of the agent's is an answer, too: what is said next goes on from it.

    Raises `NotAllowed`, and `django.db.Error` where the database is out of reach.
    """
    decision = await in_database(gatekeeper.decide, source)
    if not decision.is_allowed:
        raise NotAllowed(f"{source.user_id} may not speak to the agent here: {decision.rule}.")
    event = InboundEvent(event_id=uuid.uuid4().hex, source=source, text=text)
    accepted = await in_database(inbox.accept, [event])
    context = context_of(source, session_id="")
    try:
        while True:
            await run_session(context, http=http_session())
            row = await in_database(_row, event.event_id)
            asked = await in_database(answering.pending, session_key=context.session_key)
            if row.state not in OPEN_STATES or asked:
                break
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await close_http_session()
    texts = await in_database(outbox.fetch, platform="cli", account="", chat_id=source.chat_id)
    # A control command is answered without a turn.
    answered = row.state == InboundState.DONE and (row.turn is None or row.turn.state == TurnState.DONE)
    if asked and not texts:
        texts = [f"I wait for an answer first:\n{wording.listing(asked)}"]
    return Answer(texts, bool(asked) or (answered and not accepted.refused))


def _row(event_id: str) -> InboundMessage:
    return InboundMessage.objects.select_related("turn").get(platform="cli", account="", event_id=event_id)
