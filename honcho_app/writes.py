"""The rows that wait to be written to Honcho: taken from the head of a lane, batch by batch, and settled.

That a request begins is recorded before it does (`attempted_at`), together with when another worker may look what came
of it. A row that has been attempted is looked up at Honcho before it is sent again.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Case, F, QuerySet, Value, When
from django.utils import timezone

from gateway_app import clock, lanes, metrics
from gateway_app.config import live as gateway
from gateway_app.lanes import Claim
from gateway_app.models.lane import LaneKind

from . import generations, waits
from .models import HonchoWrite
from .models.write import WriteState

PRUNED_AT_ONCE = 1000
MOST = 100
"""Messages that Honcho takes in one request."""
MOST_CHARS = 500_000
"""Characters of one request, which may be two or three times as many bytes; a single message has fewer."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes to Honcho in one request, in order."""

    key: str
    """The Honcho session key."""
    rows: Sequence[HonchoWrite]
    is_doubtful: bool
    """A request that may have written them has begun before; only what Honcho does not have is sent again."""
    generation: int
    """The one that the key's session was in when the batch was taken."""

    send_until: float = 0.0
    """Local monotonic time after which it must not be sent: whoever takes it up next reckons with that."""

    @property
    def peers(self) -> set[str]:
        """Who said it."""
        return {row.peer for row in self.rows}


def turn_name(row: HonchoWrite) -> str:
    """The turn as a message's metadata names it; also another installation's turn of the same number has another."""
    return f"{row.session.session_id}/{row.turn_id}"


def claim_and_take(*, key: str) -> tuple[Claim | None, Batch | None]:
    """Claims the lane of a Honcho session key and takes what is due in it first, if anything is."""
    with transaction.atomic():
        claim = lanes.claim(kind=LaneKind.HONCHO, key=key)
        return claim, take_next(claim) if claim else None


def take_next(claim: Claim, *, most: int = MOST) -> Batch | None:
    """The next batch, of `most` messages, or nothing, in which case the lane has been released.

    Must run in a transaction in which the caller holds the lane.
    """
    while True:
        rows = list(_waiting(claim)[:most])
        now = clock.read()
        due = rows[0].next_attempt_at if rows else None
        if rows and (due is None or due <= now):
            return _taken(claim, rows)
        if lanes.release(claim, wake_at=due):
            return None
        lanes.hold(claim)


def next_due() -> str | None:
    """The key of a lane in which something is due and no worker is."""
    found = lanes.due(kinds=[LaneKind.HONCHO], limit=1)
    return found[0][1] if found else None


def record_sent(claim: Claim, batch: Batch, *, ids: Mapping[int, str], most: int = MOST) -> Batch | None:
    """Commits that Honcho has the rows of `ids`, row by row as what; the others of the batch it does not have.

    Returns the next batch. Raises `LaneLost`.
    """
    with lanes.fenced(claim):
        lanes.hold(claim)
        now = clock.read()
        _waiting(claim).filter(pk__in=ids).update(
            state=WriteState.SENT,
            message_id=Case(*(When(pk=pk, then=Value(found)) for pk, found in ids.items()), default=Value("")),
            error="",
            next_attempt_at=None,
            finished_at=now,
        )
        _waiting(claim).filter(pk__in=[row.pk for row in batch.rows if row.pk not in ids]).update(
            attempted_at=None, next_attempt_at=None
        )
        return take_next(claim, most=most)


def record_failed(claim: Claim, batch: Batch, *, error: str, wait: float, is_unknown: bool) -> Batch | None:
    """The request failed: what comes next waits `wait` seconds. Raises `LaneLost`.

    Unless `is_unknown`, Honcho has certainly nothing of it.
    """
    with lanes.fenced(claim):
        lanes.hold(claim)
        rows = _waiting(claim).filter(pk__in=[row.pk for row in batch.rows])
        rows.update(error=error, next_attempt_at=clock.read() + timedelta(seconds=wait))
        if not is_unknown:
            rows.update(attempted_at=None)
        return take_next(claim)


def record_rejected(claim: Claim, batch: Batch, *, error: str) -> tuple[Batch | None, int]:
    """Honcho will not take the batch. One message is given up by itself; of several, half are to be tried next.

    Returns the next batch and how many messages it has at the most. Raises `LaneLost`.
    """
    with lanes.fenced(claim):
        lanes.hold(claim)
        rows = _waiting(claim).filter(pk__in=[row.pk for row in batch.rows])
        most = max(1, len(batch.rows) // 2)
        rows.update(attempted_at=None, next_attempt_at=None)
        if len(batch.rows) == 1:
            rows.update(state=WriteState.DEAD, error=error, finished_at=clock.read())
            metrics.HONCHO_WRITES.labels(outcome="dead").inc()
        return take_next(claim, most=most), most


def forget_sent() -> int:
    """Removes what was written long ago, one batch of it; returns how many rows that were."""
    until = timezone.now() - timedelta(days=gateway.config().honcho.write_keep_days)
    over = HonchoWrite.objects.filter(state=WriteState.SENT, finished_at__lt=until).order_by("finished_at")
    count, _ = HonchoWrite.objects.filter(pk__in=list(over.values_list("pk", flat=True)[:PRUNED_AT_ONCE])).delete()
    return count


def _waiting(claim: Claim) -> QuerySet[HonchoWrite]:
    waiting = HonchoWrite.objects.filter(lane_id=claim.lane_id, state=WriteState.WAITING)
    return waiting.select_related("session").order_by("seq")


def _taken(claim: Claim, rows: Sequence[HonchoWrite]) -> Batch:
    """The head of `rows` as a batch, its attempt recorded. What was attempted before is one by itself."""
    generation = generations.generation(claim.key)
    is_doubtful = rows[0].attempted_at is not None
    alike = itertools.takewhile(lambda row: (row.attempted_at is not None) is is_doubtful, rows)
    if is_doubtful:
        return Batch(claim.key, list(alike), is_doubtful, generation)
    sizes = itertools.accumulate(len(row.content) for row in rows)
    taken = [row for row, size in zip(alike, sizes, strict=False) if size <= MOST_CHARS or row is rows[0]]
    begun, now = time.monotonic(), clock.read()
    _waiting(claim).filter(pk__in=[row.pk for row in taken]).update(
        attempts=F("attempts") + 1,
        attempted_at=now,
        next_attempt_at=now + timedelta(seconds=waits.until_settled()),
    )
    return Batch(claim.key, taken, is_doubtful, generation, begun + gateway.config().honcho.write_timeout_seconds)
