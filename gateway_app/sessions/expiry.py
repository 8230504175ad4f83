"""Ends sessions by the clock: as the next message comes in, or before, so that their memory is flushed in time."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Subquery

from gateway_app import clock, lanes
from gateway_app.config import live
from gateway_app.lanes import Claim
from gateway_app.models import InboundMessage, Lane, MemoryFlush, Session, TranscriptMessage
from gateway_app.models.inbox import OPEN_STATES
from gateway_app.models.lane import LaneKind
from gateway_app.models.session import EndReason

from . import flushes, reset_policy, rotation
from .rotation import CLOCK
from .routing import OpenSession

log = logging.getLogger(__name__)

BATCH = 100
"""Sessions that are looked at in one go. On SQLite a worker has one database thread, which turns need too."""


def refresh(claim: Claim, session: OpenSession, *, platform: str, chat_type: str, at: datetime) -> OpenSession:
    """The session that a message which came in at the moment `at` belongs to: `session`, or the next where it is over.

    Costs the database nothing where nothing is due. Must run in a transaction in which the lane was claimed or held,
    while no turn of the session is under way.
    """
    active_at = last_active(said_at=session.said_at, resumed_at=session.resumed_at)
    if active_at is None:
        return session
    policy = reset_policy.policy_for(platform=platform, chat_type=chat_type)
    reason = policy.over(active_at=active_at, at=at)
    if reason is None:
        return session
    old = Session.objects.get(pk=session.pk)
    new = rotation.rotate(claim, session=old, reason=reason, by=CLOCK, is_untold=True)
    return OpenSession(
        new.pk,
        new.session_id,
        untold_reset=reason,
        parent_session_id=old.session_id,
        overrides=session.overrides,
    )


def last_active(*, said_at: datetime | None, resumed_at: datetime | None) -> datetime | None:
    """When a session was last in use; None where nothing was said in it, so that there is nothing to put aside."""
    return max(said_at, resumed_at or said_at) if said_at else None


def end_due(*, after: str = "") -> str | None:
    """Looks at the next BATCH of open sessions and ends those that are over by now, where nothing waits or runs.

    Those that are over soon have their memory flushed ahead. They are taken by their keys. Returns what to pass on as
    `after`, None where that was the last. Harmless twice at once: whoever gets a session's lane ends it, and
    looks again before.
    """
    if not reset_policy.is_anywhere():
        return None
    rows = _idle_sessions(session_key__gt=after)
    now, ahead = clock.read(), timedelta(seconds=live.config().memory.flush_ahead_seconds)
    for row in rows:
        if _reason(row, at=now):
            _end(pk=row["pk"], key=row["session_key"])
        elif ahead and not row["is_covered"] and _reason(row, at=now + ahead):
            flushes.ask_ahead(session_pk=row["pk"], honcho_session_key=row["session_key"])
    return rows[-1]["session_key"] if len(rows) == BATCH else None


def _idle_sessions(**which: Any) -> list[dict[str, Any]]:
    """Sessions that are open and have no message in their lane that waits or runs."""
    newest = TranscriptMessage.objects.filter(session_id=OuterRef("pk")).order_by("-id")
    open_messages = InboundMessage.objects.filter(
        lane__kind=LaneKind.TURNS, lane__key=OuterRef("session_key"), state__in=OPEN_STATES
    )
    found = Session.objects.filter(~Exists(open_messages), ended_at=None, **which).annotate(
        said_at=Subquery(newest.values("created_at")[:1]),
        said=Subquery(newest.values("pk")[:1]),
        is_covered=Exists(MemoryFlush.objects.filter(flushes.covering(OuterRef("said")), session_id=OuterRef("pk"))),
    )
    columns = ("pk", "session_key", "platform", "chat_type", "resumed_at", "said_at", "is_covered")
    return [dict(row) for row in found.order_by("session_key").values(*columns)[:BATCH]]


def _reason(row: dict[str, Any], *, at: datetime) -> EndReason | None:
    active_at = last_active(said_at=row["said_at"], resumed_at=row["resumed_at"])
    if active_at is None:
        return None
    policy = reset_policy.policy_for(platform=row["platform"], chat_type=row["chat_type"])
    return policy.over(active_at=active_at, at=at)


def _end(*, pk: int, key: str) -> None:
    """Ends one session where it is idle and over, still. Nobody is told before they write again."""
    with transaction.atomic():
        claim = lanes.claim(kind=LaneKind.TURNS, key=key)
        if claim is None:
            return
        rows = _idle_sessions(pk=pk)
        reason = _reason(rows[0], at=clock.read()) if rows else None
        if reason:
            session = Session.objects.get(pk=pk)
            rotation.rotate(claim, session=session, reason=reason, by=CLOCK, is_untold=True)
            log.info("Session %s of %s was ended by the clock: %s.", session.session_id, key, reason)
        # What came in since the first look rings as it would have.
        lanes.release(claim, wake_at=Lane.objects.get(pk=claim.lane_id).wake_at)
