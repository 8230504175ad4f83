"""Lanes: keyed mailboxes, each worked by at most one worker at a time, in sequence order, fleet-wide.

A lane is claimed by one conditional UPDATE that also raises its fence. Whoever commits a lane's results
calls `hold()` in that same transaction: it locks the lane's row and refuses when the fence has moved on,
so a worker that was paused past its lease changes nothing. `release()` succeeds only while nothing has
been put in since the holder last looked (`tail`), so no wake-up is lost. While anything waits, `wake_at`
is set, and the sweep rings for every lane that has one in the past and no live lease.

Every function is a statement and must run inside a transaction where its docstring says so. The statements
themselves are public too (`claiming`, `holding` …), for callers that send several in one trip.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from gateway_app import clock
from gateway_app.models.lane import Lane, LaneKind
from gateway_app.statements import Row, Sql, Statement, execute

TABLE = Lane._meta.db_table
FREE = f"({TABLE}.lease_until IS NULL OR {TABLE}.lease_until <= {{now}})"
HELD = "lease_until IS NOT NULL"
"""Not given back, though the lease may have ended. A claim that was given back has the fence of its time, still."""

_process = ""
_claims = itertools.count(1)


def _name_process() -> None:
    global _process
    _process = f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


_name_process()
# Under one name, as after a fork, two processes would take each other's claims for theirs.
os.register_at_fork(after_in_child=_name_process)


class LaneLost(Exception):
    """Another worker has claimed the lane since, or it was given back; nothing of the transaction may commit."""


@dataclass(slots=True, eq=False)
class Claim:
    """The right to work a lane, until another claim raises the fence."""

    lane_id: int
    kind: str
    key: str
    owner: str
    fence: int
    tail: int
    """The newest item that the holder may have seen; see `release()`."""
    trusted_until: float = field(default=0.0)
    """Local monotonic time until which no other worker can have claimed the lane."""

    def is_trusted(self) -> bool:
        """Whether the lease certainly still stands. Asked before what cannot be undone, such as a send."""
        return time.monotonic() < self.trusted_until

    def is_aging(self) -> bool:
        """Whether the lease is old enough to be renewed at this heartbeat: it might not see the next but one."""
        return time.monotonic() > self.trusted_until - settings.LANE_LEASE_SECONDS * 0.7


@dataclass(frozen=True, slots=True)
class Bid:
    """A claim under way: who will own the lane if it is free, and since when."""

    kind: LaneKind
    key: str
    owner: str
    started: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where items were put: they have the sequence numbers `tail - count + 1` to `tail`."""

    lane_id: int
    tail: int
    is_held: bool
    """A worker holds the lane and will see the items; no ring is needed."""


def bid(*, kind: LaneKind, key: str) -> Bid:
    """Begins a claim; its owner's name is new, so two claims of one process are told apart."""
    return Bid(kind, key, f"{_process}:{next(_claims)}", time.monotonic())


def putting(*, kind: LaneKind, counts: Mapping[str, int], is_rung: bool = True) -> Statement:
    """The statement of `put()`; read its rows with `places()`."""
    now = clock.now()
    wake_at = now if is_rung else "NULL"
    values: list[str | int] = []
    for key in sorted(counts):
        values += [kind.value, key, counts[key]]
    return Statement(
        f"INSERT INTO {TABLE} (kind, key, tail, wake_at) VALUES "
        + ", ".join([f"(%s, %s, %s, {wake_at})"] * len(counts))
        + f" ON CONFLICT (kind, key) DO UPDATE SET tail = {TABLE}.tail + excluded.tail,"
        f" wake_at = coalesce(excluded.wake_at, {TABLE}.wake_at)"
        f" RETURNING key, id, tail, NOT {FREE.format(now=now)}",
        values,
        locks=min(counts),
    )


def places(rows: Iterable[Row]) -> dict[str, Place]:
    return {key: Place(lane_id, tail, bool(held)) for key, lane_id, tail, held in rows}


def put(*, kind: LaneKind, counts: Mapping[str, int], is_rung: bool = True) -> dict[str, Place]:
    """Reserves places for `counts[key]` new items in each lane, making lanes that do not exist.

    Without `is_rung` no worker is called for them: whoever they are for fetches them, or asks for a ring later.

    Must run in the transaction that inserts the items: the lane's row stays locked until it commits, so
    sequence numbers become visible in their order. Keys are taken in sorted order, so two calls never deadlock.
    """
    return places(execute(putting(kind=kind, counts=counts, is_rung=is_rung))[0])


def lock(*, kind: LaneKind, keys: Iterable[str]) -> None:
    """Locks the rows of those of the lanes that there are until the transaction ends.

    Whoever locks lanes beside those that they put into or hold does it first, so that two of them never deadlock.
    """
    for key in sorted(keys):
        execute(Statement(f"UPDATE {TABLE} SET tail = tail WHERE kind = %s AND key = %s", [kind.value, key]))


def putting_and_claiming(mine: Bid, *, count: int) -> Statement:
    """Puts `count` items into the lane and claims it if it is free; read its row with `claimed_by_put()`."""
    now = clock.now()
    free = FREE.format(now=now)
    return Statement(
        f"INSERT INTO {TABLE} (kind, key, tail, wake_at, lease_owner, lease_until, fence)"
        f" VALUES (%s, %s, %s, {now}, %s, {clock.later()}, 1)"
        f" ON CONFLICT (kind, key) DO UPDATE SET tail = {TABLE}.tail + excluded.tail, wake_at = excluded.wake_at,"
        f" lease_owner = CASE WHEN {free} THEN excluded.lease_owner ELSE {TABLE}.lease_owner END,"
        f" fence = {TABLE}.fence + CASE WHEN {free} THEN 1 ELSE 0 END,"
        f" lease_until = CASE WHEN {free} THEN excluded.lease_until ELSE {TABLE}.lease_until END"
        " RETURNING id, tail, fence, lease_owner",
        [mine.kind.value, mine.key, count, mine.owner, settings.LANE_LEASE_SECONDS],
        locks=mine.key,
    )


def claimed_by_put(mine: Bid, rows: list[Row]) -> Claim | None:
    """The claim that `putting_and_claiming()` won, if it did."""
    lane_id, tail, fence, holder = rows[0]
    return _won(mine, lane_id=lane_id, fence=fence, tail=tail) if holder == mine.owner else None


def place_of(mine: Bid, *, back: int = 0) -> tuple[Sql, Sql]:
    """The lane's id and the sequence number `back` before its tail, as values for an insert in the same trip."""
    where = f"FROM {TABLE} WHERE kind = %s AND key = %s"
    return (
        Sql(f"SELECT id {where}", [mine.kind.value, mine.key]),
        Sql(f"SELECT tail - %s {where}", [back, mine.kind.value, mine.key]),
    )


def lane_of(mine: Bid) -> Sql:
    """The lane's id where the bid has won, for a statement in the same trip."""
    return Sql(
        f"SELECT id FROM {TABLE} WHERE kind = %s AND key = %s AND lease_owner = %s",
        [mine.kind.value, mine.key, mine.owner],
    )


def claiming(mine: Bid) -> Statement:
    """The statement of `claim()`; read its rows with `claimed()`."""
    return Statement(
        f"UPDATE {TABLE} SET lease_owner = %s, lease_until = {clock.later()}, fence = fence + 1"
        f" WHERE kind = %s AND key = %s AND {FREE.format(now=clock.now())} RETURNING id, fence, tail",
        [mine.owner, settings.LANE_LEASE_SECONDS, mine.kind.value, mine.key],
        locks=mine.key,
    )


def claimed(mine: Bid, rows: list[Row]) -> Claim | None:
    return _won(mine, lane_id=rows[0][0], fence=rows[0][1], tail=rows[0][2]) if rows else None


def claim(*, kind: LaneKind, key: str) -> Claim | None:
    """The right to work the lane, or nothing where another worker has it or the lane does not exist."""
    mine = bid(kind=kind, key=key)
    return claimed(mine, execute(claiming(mine))[0])


def holding(claim: Claim) -> Statement:
    """The statement of `hold()`; give its rows to `held()` before anything else of the trip is believed."""
    return Statement(
        f"UPDATE {TABLE} SET lease_until = {clock.later()} WHERE id = %s AND fence = %s AND {HELD} RETURNING tail",
        [settings.LANE_LEASE_SECONDS, claim.lane_id, claim.fence],
        locks=claim.key,
    )


def held(claim: Claim, rows: list[Row]) -> None:
    """Raises `LaneLost` where `holding()` found another fence."""
    if not rows:
        raise LaneLost(f"{claim.kind} lane {claim.key} was claimed by another worker")
    claim.tail = rows[0][0]


def hold(claim: Claim) -> None:
    """Asserts the fence, locks the lane until the transaction ends, renews the lease, and looks at the tail again.

    Every transaction that commits a lane's results calls this first, within `fenced()`. Raises `LaneLost`.
    """
    held(claim, execute(holding(claim))[0])


@contextlib.contextmanager
def fenced(*claims: Claim) -> Iterator[None]:
    """A transaction that commits lanes' results; it begins with `hold()`, or a trip that begins with `holding()`.

    Only once it has committed are the renewed leases trusted. Raises `LaneLost` also where a trip fails because it
    collides with what a lane's next holder has written, before its own look at the fence is read.
    """
    started = time.monotonic()
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        for claim in claims:
            with transaction.atomic():
                hold(claim)
        raise
    for claim in claims:
        claim.trusted_until = _trust(started)


def holding_or_releasing(claim: Claim, *, open_items: Sql) -> Statement:
    """`holding()`, and gives the lane back if `open_items` finds nothing; read its row with `held_or_released()`.

    Looking and giving back is one statement, so it is safe only together with the look at the tail: where something
    was put in since the holder last looked, the statement may not see it yet, but it sees that the tail has moved.
    """
    return Statement(
        f"UPDATE {TABLE} SET lease_owner = CASE WHEN look.is_done AND tail = %s THEN '' ELSE lease_owner END,"
        f" wake_at = CASE WHEN look.is_done AND tail = %s THEN NULL ELSE wake_at END,"
        f" lease_until = CASE WHEN look.is_done AND tail = %s THEN NULL ELSE {clock.later()} END"
        f" FROM (SELECT NOT EXISTS ({open_items.sql}) AS is_done) look"
        f" WHERE id = %s AND fence = %s AND {HELD} RETURNING tail, lease_owner",
        [claim.tail] * 3 + [settings.LANE_LEASE_SECONDS, *open_items.values, claim.lane_id, claim.fence],
        locks=claim.key,
    )


def held_or_released(claim: Claim, rows: list[Row]) -> bool:
    """Whether the lane was given back; raises `LaneLost` where `holding_or_releasing()` found another fence."""
    held(claim, rows)
    return bool(rows[0][1] == "")


def release(claim: Claim, *, wake_at: datetime | None = None) -> bool:
    """Gives the lane back, to be rung again at `wake_at` if something still waits in it.

    False where something was put in that the holder has not looked for yet (then `hold()` and look again).
    A lane that another worker has claimed since counts as given back.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET lease_owner = '', lease_until = NULL, wake_at = %s"
            " WHERE id = %s AND fence = %s AND tail = %s RETURNING id",
            [clock.parameter(wake_at), claim.lane_id, claim.fence, claim.tail],
        )
        if cursor.fetchone():
            return True
        cursor.execute(f"SELECT 1 FROM {TABLE} WHERE id = %s AND fence = %s", [claim.lane_id, claim.fence])
        return cursor.fetchone() is None


def release_later(claim: Claim, *, wait: float) -> None:
    """Gives the lane back with its item undone, to be rung again after `wait` seconds."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET lease_owner = '', lease_until = NULL, wake_at = {clock.later()}"
            " WHERE id = %s AND fence = %s",
            [wait, claim.lane_id, claim.fence],
        )


def renew(claims: Iterable[Claim]) -> set[int]:
    """Prolongs the leases of one process in one statement; returns the lanes that nobody else has claimed since.

    A lane that is given back at the same moment stays so: a lease without a holder would keep rings from it.
    """
    renewed = list(claims)
    if not renewed:
        return set()
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET lease_until = CASE WHEN {HELD} THEN {clock.later()} END WHERE "
            + " OR ".join(["(id = %s AND fence = %s)"] * len(renewed))
            + " RETURNING id",
            [settings.LANE_LEASE_SECONDS, *(value for claim in renewed for value in (claim.lane_id, claim.fence))],
        )
        kept = {row[0] for row in cursor.fetchall()}
    for claim in renewed:
        if claim.lane_id in kept:
            claim.trusted_until = _trust(started)
    return kept


def due(*, limit: int, kinds: Iterable[LaneKind] = tuple(LaneKind)) -> list[tuple[str, str]]:
    """Kind and key of lanes that want to be rung: something waits, its time has come, and nobody holds them."""
    wanted = [kind.value for kind in kinds]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT kind, key FROM {TABLE} WHERE wake_at IS NOT NULL AND wake_at <= {clock.now()}"
            f" AND kind IN ({', '.join(['%s'] * len(wanted))})"
            f" AND {FREE.format(now=clock.now())} ORDER BY wake_at LIMIT %s",
            [*wanted, limit],
        )
        return list(cursor.fetchall())


def wake(*, lane_id: int) -> None:
    """Asks for a ring at the next sweep; used where an operator puts a dead item back."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET wake_at = {clock.now()}, tail = tail + 1 WHERE id = %s",
            [lane_id],
        )


def _won(mine: Bid, *, lane_id: int, fence: int, tail: int) -> Claim:
    return Claim(lane_id, mine.kind.value, mine.key, mine.owner, fence, tail, _trust(mine.started))


def _trust(started: float) -> float:
    # From before the statement was sent, and a tenth short, so that it ends before the database's lease does.
    return started + settings.LANE_LEASE_SECONDS * 0.9
