"""Opens a session's next turn: takes what waits, or takes over the turn that a dead worker left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from gateway_app import lanes, rows
from gateway_app.lanes import Claim
from gateway_app.models import InboundMessage, Session, Turn
from gateway_app.models.inbox import InboundState
from gateway_app.models.lane import LaneKind
from gateway_app.sessions import history
from gateway_app.sessions.key import is_shared
from gateway_app.sessions.routing import context_of, open_sessions
from gateway_app.sessions.source import SessionContext, SessionSource

from . import journal

INBOX = InboundMessage._meta.db_table
LONGEST_SENDER = 240
"""Characters of a sender's name that the model sees in a shared session."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One open message of the lane."""

    row_id: int
    source: SessionSource
    text: str
    message_id: str


@dataclass(slots=True)
class OpenTurn:
    """A turn that this worker runs: what was asked, by whom, and what is known so far."""

    claim: Claim
    turn_id: int
    attempts: int
    session_pk: int
    context: SessionContext
    asked: str
    """The user's message as the model gets it: all that was waiting, as one."""
    reply_to: str
    """The platform's id of the newest message answered."""
    history: list[dict[str, Any]]
    steps: list[journal.Step]


def claim_and_open(*, session_key: str) -> OpenTurn | None:
    """Claims the session's lane and opens its next turn; nothing where another worker has it or nothing waits."""
    with transaction.atomic():
        claim = lanes.claim(kind=LaneKind.TURNS, key=session_key)
        return open_next(claim) if claim else None


def open_next(claim: Claim) -> OpenTurn | None:
    """The next turn of a lane that the caller holds; where nothing waits the lane is released.

    Must run in a transaction in which the lane was claimed or held.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, source, text, message_id, turn_id FROM {INBOX}"
            " WHERE lane_id = %s AND state IN ('waiting', 'running') ORDER BY seq",
            [claim.lane_id],
        )
        found = cursor.fetchall()
    if not found:
        lanes.release(claim)  # the lane's row is locked, so nothing can have been put in since
        return None
    # A turn that was left goes first, also where an operator has put an older message back before its own.
    unfinished = next((turn_id for *_, turn_id in found if turn_id is not None), None)
    waiting = [
        Waiting(row_id, SessionSource.from_json(json.loads(source)), text, message_id)
        for row_id, source, text, message_id, turn_id in found
        if turn_id == unfinished
    ]
    if unfinished is None:
        return _start(claim, _collected(waiting))
    return _take_over(claim, turn_id=unfinished, waiting=waiting)


def _start(claim: Claim, waiting: list[Waiting]) -> OpenTurn:
    newest = waiting[-1].source
    session = open_sessions({claim.key: newest})[claim.key]
    ((turn_id,),) = rows.insert(
        Turn,
        columns=("session_id", "lane_id", "state", "attempts"),
        rows=[(session.pk, claim.lane_id, "running", 1)],
        returning=("id",),
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {INBOX} SET state = %s, turn_id = %s WHERE id IN ({', '.join(['%s'] * len(waiting))})",
            [InboundState.RUNNING.value, turn_id, *(message.row_id for message in waiting)],
        )
    return _opened(claim, turn_id=turn_id, attempts=1, session=session, waiting=waiting, steps=[])


def _take_over(claim: Claim, *, turn_id: int, waiting: list[Waiting]) -> OpenTurn:
    turn = Turn.objects.select_related("session").get(pk=turn_id)
    turn.attempts += 1
    turn.save(update_fields=["attempts"])
    steps = journal.load(turn_id=turn_id)
    return _opened(claim, turn_id=turn_id, attempts=turn.attempts, session=turn.session, waiting=waiting, steps=steps)


def _opened(
    claim: Claim, *, turn_id: int, attempts: int, session: Session, waiting: list[Waiting], steps: list[journal.Step]
) -> OpenTurn:
    budget = settings.MODEL_CONTEXT_TOKENS - min(settings.MODEL_MAX_OUTPUT_TOKENS, settings.MODEL_CONTEXT_TOKENS // 4)
    newest = waiting[-1]
    return OpenTurn(
        claim=claim,
        turn_id=turn_id,
        attempts=attempts,
        session_pk=session.pk,
        context=context_of(newest.source, session_id=session.session_id),
        asked="\n\n".join(_said(message) for message in waiting),
        reply_to=newest.message_id,
        history=history.load(session_pk=session.pk, budget=budget),
        steps=steps,
    )


def _collected(waiting: list[Waiting]) -> list[Waiting]:
    """What the next turn takes: all that waits, up to the first message of another person.

    One person's request never runs under another's identity, also where several write in one session.
    """
    first = waiting[0].source.participant
    count = next((n for n, message in enumerate(waiting) if message.source.participant != first), len(waiting))
    return waiting[:count]


def _said(message: Waiting) -> str:
    if not is_shared(message.source):
        return message.text
    name = "".join(c if c.isprintable() else " " for c in message.source.user_name)[:LONGEST_SENDER]
    return f"[{name or message.source.user_id}] {message.text}"


def give_up_early(turn: OpenTurn, *, wait: float) -> None:
    """Hands an unfinished turn back, to be taken over after `wait` seconds; a stop by us costs it no attempt."""
    with transaction.atomic():
        lanes.hold(turn.claim)
        if not wait:
            Turn.objects.filter(pk=turn.turn_id).update(attempts=turn.attempts - 1)
        lanes.release_later(turn.claim, wait=wait)
