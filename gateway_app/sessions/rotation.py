"""Ends a session and opens the next one of its key, together with the row that has its memory flushed.

All of it happens in one transaction that holds the session's lane, so that no turn runs in between, and nobody else
rotates the same session. Nothing is deleted: a session that has ended keeps its transcript, and can be resumed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from django.db import transaction
from django.db.models.functions import Now

from gateway_app import doorbell
from gateway_app.lanes import Claim
from gateway_app.models import MemoryFlush, Session, Turn
from gateway_app.models.session import EndReason
from gateway_app.models.turn import OPEN_TURN_STATES
from honcho_app import managers

from . import lineage
from .lineage import Part
from .routing import new_session_id

CLOCK = "clock"
"""Who ends a session where nobody did."""


class NotRotatable(Exception):
    """The session is not open any more, is another lane's, or a turn runs in it."""


def rotate(
    claim: Claim,
    *,
    session: Session,
    reason: EndReason,
    by: str,
    turn_id: int | None = None,
    title: str = "",
    inherited: Iterable[Part] = (),
    compression_id: int | None = None,
    is_untold: bool = False,
) -> Session:
    """Ends `session` and returns the one that is open now, for the same people in the same place.

    What they chose with `sessions.overrides` stays chosen. `by` is a person's id, or CLOCK. `turn_id` is the turn that
    carries this out, `inherited` what a branch starts from, and `compression_id` how the model gets that. With
    `is_untold` the next turn tells of the reset. Must run in a transaction that holds the lane of `claim`. Raises
    `NotRotatable`.
    """
    _end(claim, session=session, reason=reason, by=by, turn_id=turn_id)
    return Session.objects.create(
        session_id=new_session_id(),
        session_key=session.session_key,
        platform=session.platform,
        account=session.account,
        chat_id=session.chat_id,
        chat_type=session.chat_type,
        thread_id=session.thread_id,
        user_id=session.user_id,
        user_name=session.user_name,
        title=title,
        parent=session,
        inherited=lineage.written(inherited),
        compression_id=compression_id,
        untold_reset=reason if is_untold else "",
        overrides=session.overrides,
    )


def switch(claim: Claim, *, session: Session, target: Session, by: str, turn_id: int | None = None) -> None:
    """Ends `session` and opens `target` again, an earlier one of the same key.

    Must run in a transaction that holds the lane of `claim`. Raises `NotRotatable`.
    """
    if target.session_key != claim.key or target.pk == session.pk:
        raise NotRotatable(f"session {target.session_id} is no earlier one of {claim.key}")
    _end(claim, session=session, reason=EndReason.SWITCH, by=by, turn_id=turn_id)
    Session.objects.filter(pk=target.pk).update(
        ended_at=None, end_reason="", ended_by="", untold_reset="", resumed_at=Now()
    )


def _end(claim: Claim, *, session: Session, reason: EndReason, by: str, turn_id: int | None) -> None:
    if session.session_key != claim.key:
        raise NotRotatable(f"session {session.session_id} is not one of {claim.key}")
    running = Turn.objects.filter(lane_id=claim.lane_id, state__in=OPEN_TURN_STATES).values_list("pk", flat=True)
    if set(running) - {turn_id}:
        raise NotRotatable(f"a turn runs in session {session.session_id}")
    open_one = Session.objects.filter(pk=session.pk, ended_at=None)
    if not open_one.update(ended_at=Now(), end_reason=reason, ended_by=by[:255], untold_reset=""):
        raise NotRotatable(f"session {session.session_id} is not open")
    flush = MemoryFlush(session=session, honcho_session_key=session.session_key, reason=reason)
    # Ignored where the session was ended before and that flush waits, still: it covers both.
    MemoryFlush.objects.bulk_create([flush], ignore_conflicts=True)
    # The other workers let theirs go when they see the key's next session.
    transaction.on_commit(
        functools.partial(managers.shut_down, session.session_key, session_id=session.session_id), robust=True
    )
    if by != CLOCK:  # who ended it goes on talking; what the clock ends comes in masses, and waits for beat
        transaction.on_commit(doorbell.ring_flushes, robust=True)
