"""What waits, what was given up, and who last gave a sign of life, for /readyz, /metrics and the dashboard.

Every query runs on an index that holds unfinished rows only, and no count goes on beyond `COUNT_CAP`, so the cost
does not grow with the history.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q, QuerySet
from django.db.models.functions import Lower

from gateway_app import clock
from gateway_app.models import Heartbeat, InboundMessage, Lane, Listener, OutboundPart
from gateway_app.models.lane import LaneKind
from honcho_app.models import HonchoWrite

COUNT_CAP = 100_000
"""Rows counted one by one; a backlog beyond it is reported as this many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The inbox, the outbox, or the ledger of Honcho. Ages are in seconds; None where nothing waits."""

    waiting: int
    running: int
    """Taken by a turn, or being sent, or sent to Honcho without that it is known what came of it."""
    dead: int
    oldest_seconds: float | None
    """Age of the oldest row still waiting, and not for a person."""


NOTHING = Box(waiting=0, running=0, dead=0, oldest_seconds=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """Lanes of one kind that are not idle."""

    kind: LaneKind
    held: int
    """A worker is at them."""
    due: int
    """Something is due in them and no worker is at them."""
    overdue_seconds: float | None
    """How long that has been so for the one that has waited longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerState:
    platform: str
    account: str
    is_held: bool
    """A listener process holds the lease."""
    poll_seconds: float | None
    """Since the last successful poll; None where there was none."""
    error: str
    """What the platform said last; it may hold what only operators should read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    read_at: datetime
    inbox: Box
    outbox: Box
    turns: Lanes
    delivery: Lanes
    listeners: list[ListenerState]
    canary_seconds: float | None
    """Since a task last came through the queue; None where none ever has."""
    honcho: Box = NOTHING
    """What is to be written to Honcho, where that was asked for. It waits for as long as Honcho is away."""
    honcho_lanes: Lanes = Lanes(kind=LaneKind.HONCHO, held=0, due=0, overdue_seconds=None)


def read() -> Backlog:
    """The state of this moment by the database's clock. Raises `django.db.Error`."""
    now = clock.read()
    turns, delivery, honcho = _lanes(now)
    canary = Heartbeat.objects.filter(name="canary").values_list("beat_at", flat=True).first()
    return Backlog(
        read_at=now,
        inbox=read_inbox(now=now),
        outbox=read_outbox(now=now),
        turns=turns,
        delivery=delivery,
        listeners=_listeners(now),
        canary_seconds=_age(canary, now),
        honcho_lanes=honcho,
    )


def read_all() -> Backlog:
    """`read()` with what waits for Honcho, on which no message depends. Raises `django.db.Error`."""
    state = read()
    return replace(state, honcho=read_honcho(now=state.read_at))


def read_inbox(*, now: datetime) -> Box:
    # The exclusion changes nothing but names the condition of the index, which SQLite needs to use it.
    rows = InboundMessage.objects.exclude(state="done")
    waiting = rows.filter(state="waiting")
    # What waits behind a turn that waits for a person is not late.
    late = waiting.exclude(lane__wake_at__gt=now, lane__lease_until=None)
    oldest = late.order_by("state", "id").values_list("accepted_at", flat=True).first()
    return Box(
        waiting=_count(waiting),
        running=_count(rows.filter(state="running")),
        dead=_count(rows.filter(state="dead")),
        oldest_seconds=_age(oldest, now),
    )


def read_outbox(*, now: datetime) -> Box:
    """Parts that their reader fetches, as the command line does, are not waiting for us: their lanes are never rung."""
    rows = OutboundPart.objects.exclude(state="sent")
    waiting = rows.filter(state="waiting", lane__wake_at__isnull=False)
    oldest = waiting.order_by("state", "id").values_list("created_at", flat=True).first()
    return Box(
        waiting=_count(waiting),
        running=_count(rows.filter(state="sending")),
        dead=_count(rows.filter(state="dead")),
        oldest_seconds=_age(oldest, now),
    )


def read_honcho(*, now: datetime) -> Box:
    """Where messages are written at the session's end only, the oldest is as old as that session."""
    rows = HonchoWrite.objects.exclude(state="sent")
    waiting = rows.filter(state="waiting")
    oldest = waiting.order_by("state", "id").values_list("created_at", flat=True).first()
    return Box(
        waiting=_count(waiting.filter(attempted_at=None)),
        running=_count(waiting.exclude(attempted_at=None)),
        dead=_count(rows.filter(state="dead")),
        oldest_seconds=_age(oldest, now),
    )


def _lanes(now: datetime) -> list[Lanes]:
    held = Q(lease_until__gt=now)
    due = Q(wake_at__lte=now) & (Q(lease_until__isnull=True) | Q(lease_until__lte=now))
    # Grouped by an expression, since SQLite would read all lanes in the order of `kind` rather than those that wait.
    found: dict[str, dict[str, Any]] = {
        row["group"]: dict(row)
        for row in Lane.objects.filter(wake_at__isnull=False)
        .annotate(group=Lower("kind"))
        .values("group")
        .annotate(held=Count("id", filter=held), due=Count("id", filter=due), since=Min("wake_at", filter=due))
    }
    empty: dict[str, Any] = {"held": 0, "due": 0, "since": None}
    return [
        Lanes(kind=kind, held=row["held"], due=row["due"], overdue_seconds=_age(row["since"], now))
        for kind in (LaneKind.TURNS, LaneKind.DELIVERY, LaneKind.HONCHO)
        for row in (found.get(kind, empty),)
    ]


def _listeners(now: datetime) -> list[ListenerState]:
    return [
        ListenerState(
            platform=row.platform,
            account=row.account,
            is_held=row.lease_until is not None and row.lease_until > now,
            poll_seconds=_age(row.last_poll_at, now),
            error=row.error,
        )
        for row in Listener.objects.order_by("platform", "account")
    ]


def _count(rows: QuerySet[Any]) -> int:
    return rows.order_by()[:COUNT_CAP].count()


def _age(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (now - moment).total_seconds())
