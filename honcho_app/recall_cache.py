"""Keeps what was recalled for a session's next message as a row: one fetch at a time, by its own lease and fence.

The row is one person's in one session, so that what is known of one member of a group never stands beside another's
message. It is bound to the session's id: after a reset the first message fetches anew. Whoever fetches for an older
turn never takes the place of one who did so for a newer.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q

from gateway_app import clock
from gateway_app.statements import Statement, execute

from .models import Recall

TABLE = Recall._meta.db_table


class Place(NamedTuple):
    """Whose memory, for which message."""

    honcho_session_key: str
    peer: str
    session_id: str
    turn_id: int


class Kept(NamedTuple):
    """What there is for a message."""

    text: str = ""
    is_fetched: bool = False
    """For this session; the text may be empty all the same."""
    is_fresh: bool = False
    is_under_way: bool = False
    """Somebody fetches it now."""


class Attempt(NamedTuple):
    """The right to write what was fetched, until its lease ends or the fence is raised."""

    pk: int
    fence: int


NOTHING = Kept()


def read(place: Place, *, fresh_seconds: float) -> Kept:
    """What there is. What was fetched longer ago than `fresh_seconds` is not fresh."""
    now = clock.now()
    with transaction.atomic():
        (rows,) = execute(
            Statement(
                f"SELECT session_id, text, fetched_at IS NOT NULL, fetched_at > {clock.later()},"
                f" lease_until > {now} FROM {TABLE} WHERE honcho_session_key = %s AND peer = %s",
                [-fresh_seconds, place.honcho_session_key, place.peer],
            )
        )
    if not rows or rows[0][0] != place.session_id:
        return NOTHING
    _, text, *facts = rows[0]
    return Kept(text, *map(bool, facts))


def begin(place: Place, *, seconds: float, cadence: int = 0, has_ended: bool = False) -> Attempt | None:
    """Begins a fetch that takes so long at most; nothing where one is under way, or was begun for a newer turn.

    Nothing also where fewer than `cadence` turns have ended since the last one. `has_ended` says that the turn of
    `place` has, and is to be counted.
    """
    now = clock.now()
    counting = Statement(
        f"UPDATE {TABLE} SET turns = turns + 1 WHERE honcho_session_key = %s AND peer = %s AND session_id = %s",
        [place.honcho_session_key, place.peer, place.session_id],
    )
    is_other = f"{TABLE}.session_id <> excluded.session_id"
    beginning = Statement(
        f"INSERT INTO {TABLE} (honcho_session_key, peer, session_id, turn, lease_until)"
        f" VALUES (%s, %s, %s, %s, {clock.later()}) ON CONFLICT (honcho_session_key, peer) DO UPDATE SET"
        f" fence = {TABLE}.fence + 1, lease_until = excluded.lease_until, turn = excluded.turn,"
        f" text = CASE WHEN {is_other} THEN '' ELSE {TABLE}.text END,"
        f" fetched_at = CASE WHEN {is_other} THEN NULL ELSE {TABLE}.fetched_at END,"
        " session_id = excluded.session_id"
        f" WHERE {TABLE}.turn <= excluded.turn AND ({is_other}"
        f" OR ({TABLE}.lease_until IS NULL OR {TABLE}.lease_until <= {now})"
        f" AND ({TABLE}.fetched_at IS NULL OR {TABLE}.turns >= %s)) RETURNING id, fence",
        [*place, seconds, cadence],
    )
    with transaction.atomic():
        *_, begun = execute(*([counting] if has_ended else []), beginning)
    return Attempt(*begun[0]) if begun else None


def keep(attempt: Attempt, text: str) -> bool:
    """Commits what was fetched, for the next message; false where the attempt is void by now."""
    with transaction.atomic():
        (kept,) = execute(
            Statement(
                f"UPDATE {TABLE} SET text = %s, fetched_at = {clock.now()}, turns = 0, lease_until = NULL"
                " WHERE id = %s AND fence = %s RETURNING id",
                [text, *attempt],
            )
        )
    return bool(kept)


def give_up(attempt: Attempt) -> None:
    """Ends an attempt that came to nothing; what was fetched before stays, for as long as it is fresh."""
    with transaction.atomic():
        execute(Statement(f"UPDATE {TABLE} SET lease_until = NULL WHERE id = %s AND fence = %s", list(attempt)))


def forget(honcho_session_key: str) -> int:
    """Deletes all that was fetched for a session, and makes what is under way void; returns how many people's.

    What is erased at Honcho is fetched again until it is gone there: call it after that.
    """
    deleted, _ = Recall.objects.filter(honcho_session_key=honcho_session_key).delete()
    return deleted


def forget_person(peer: str) -> int:
    """The same for one person in all sessions, of which some may be shared with others; returns how many."""
    deleted, _ = Recall.objects.filter(peer=peer).delete()
    return deleted


def forget_unused(*, days: float) -> int:
    """Deletes what nothing was fetched for in so long; returns how many rows."""
    over = clock.read() - timedelta(days=days)
    never = Q(fetched_at=None) & Q(lease_until=None) | Q(fetched_at=None, lease_until__lt=over)
    deleted, _ = Recall.objects.filter(never | Q(fetched_at__lt=over)).delete()
    return deleted
