"""Inbound limits: how many messages of a sender and of a chat are taken, over the whole fleet.

A message that finds an empty bucket is turned away and nothing of it is kept. Its chat is told so once in a window.

What a crash does: a batch's tokens are taken before its transaction. Where that fails they are given back; where the
process dies they are lost, and the buckets are full again a little later. The platform was not acknowledged and hands
the batch out again. Events that became rows are known then: they are never turned away or answered for, and their
tokens are given back. Events that were turned away are looked at anew: they may be taken now, although their chat
was told otherwise, which is better than losing them; a second notice is not sent, since the row that keeps the window
was committed together with the first.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from gateway_app import clock
from gateway_app.config import live
from gateway_app.delivery import outbox
from gateway_app.models import InboundMessage, RateBucket
from gateway_app.platforms import registry
from gateway_app.platforms.base import InboundEvent, Platform
from gateway_app.redis_address import redis_address
from gateway_app.sessions.key import delivery_key
from gateway_app.sessions.source import SessionSource

from .buckets import (
    TABLE,
    Bucket,
    BucketKind,
    Demand,
    Rate,
    Rates,
    RedisAway,
    RedisBuckets,
    give_back_to_table,
    redis_buckets,
    take_from_table,
)

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60
"""A chat is told once in this time that it is too fast. No bucket takes longer to get its next token."""
PRUNED = 5_000
"""Rows that one `prune()` drops; the next one goes on."""


@dataclass(frozen=True, slots=True)
class Limited:
    """A message that was turned away: when the next one will be taken, and what its sender may be told."""

    seconds: int
    text: str


class Charge:
    """The tokens of one batch. `settle()` says in the batch's transaction which events are turned away."""

    def __init__(self, events: Sequence[InboundEvent]) -> None:
        self._rates = rates()
        self._events = events
        self._demands: list[Demand] = []
        """What each event takes; nothing where it stands in the batch a second time, or is a row already."""
        seen: set[str] = set()
        for event in events:
            self._demands.append(() if event.event_id in seen else _demand(event.source, self._rates))
            seen.add(event.event_id)
        self._waits = [0.0] * len(events)
        self._store: RedisBuckets | None = None
        self._surplus: Counter[Bucket] = Counter()
        self.chats: list[str] = []
        """Delivery lanes of the chats that `settle()` told."""

    @property
    def is_due(self) -> bool:
        """Whether anything limits any of the events."""
        return any(self._demands)

    def take_from_redis(self) -> None:
        """Takes the tokens, unless Redis is away: then `settle()` takes them from the table."""
        store = redis_buckets(redis_address(), prefix=settings.KEY_PREFIX)
        try:
            self._waits = store.take(self._demands, self._rates)
            self._store = store
        except RedisAway:
            return

    def settle(self) -> dict[str, Limited]:
        """What is turned away, by event id, after its chats were told. Must run in the transaction, before lanes are
        put into: rows of the table are locked first."""
        if not self.is_due:
            return {}
        if self._store is None:
            self._waits = take_from_table(self._demands, self._rates)
        if not any(self._waits):
            return {}
        self._spare_known()
        waits = {event: wait for event, wait in zip(self._events, self._waits, strict=True) if wait}
        if not waits:
            return {}
        now = clock.read()
        limited = {event.event_id: _limited(wait, at=now) for event, wait in waits.items()}
        self.chats = [_tell(event, limited[event.event_id], window=window) for event, window in _unheard(waits)]
        return limited

    def _spare_known(self) -> None:
        """Has events that are rows already take nothing, and refused ones try again for what that leaves."""
        known = _known(self._events)
        freed = self._taken_by(known)
        for place, event in enumerate(self._events):
            if event.event_id in known:
                self._demands[place], self._waits[place] = (), 0.0
        refused = [place for place, wait in enumerate(self._waits) if wait]
        if not freed:
            return
        demands = [self._demands[place] for place in refused]
        if self._store is None:
            give_back_to_table(freed)
            waits = take_from_table(demands, self._rates)
        else:
            self._store.give_back(freed)
            try:
                waits = self._store.take(demands, self._rates)
            except RedisAway:
                return
        for place, wait in zip(refused, waits, strict=True):
            self._waits[place] = wait

    def give_back(self, event_ids: Collection[str]) -> None:
        """Gives back what these events took: they were rows already. Must run in the transaction."""
        surplus = self._taken_by(event_ids)
        if self._store is None:
            give_back_to_table(surplus)
        else:
            self._surplus = surplus

    def close(self, *, is_committed: bool) -> None:
        """Tells Redis what is given back: the surplus, or everything where nothing was committed."""
        if self._store is None:
            return
        back = self._surplus if is_committed else self._taken_by({event.event_id for event in self._events})
        if back:
            self._store.give_back(back)

    def _taken_by(self, event_ids: Collection[str]) -> Counter[Bucket]:
        charged = zip(self._events, self._demands, self._waits, strict=True)
        return Counter(
            bucket for event, demand, wait in charged if not wait and event.event_id in event_ids for bucket in demand
        )


@contextmanager
def charging(events: Sequence[InboundEvent]) -> Iterator[Charge]:
    """Takes the tokens of a batch, for a block that is its transaction; gives them back where the block raises."""
    charge = Charge(events)
    if charge.is_due:
        charge.take_from_redis()
    is_committed = False
    try:
        yield charge
        is_committed = True
    finally:
        charge.close(is_committed=is_committed)


def rates() -> Rates:
    """The limits in force; a kind of bucket whose rate or burst is 0 does not limit."""
    limits = live.config().limits
    found = {
        BucketKind.CHAT: (limits.chat_per_minute, limits.chat_burst),
        BucketKind.SENDER: (limits.sender_per_minute, limits.sender_burst),
    }
    return {kind: Rate(*numbers) for kind, numbers in found.items() if all(numbers)}


def prune() -> int:
    """Drops rows that say no more than a missing one: their bucket is full again and their window over.

    Safe at any time and in several processes at once; returns how many rows it dropped.
    """
    longest = max([WINDOW_SECONDS, *[rate.seconds_to_fill for rate in rates().values()]])
    with transaction.atomic():
        old = clock.read() - timedelta(seconds=longest)
        rows = RateBucket.objects.filter(filled_at__lt=old).exclude(noticed_at__gte=old).order_by("filled_at")
        # Rows that a batch holds are in use, and waiting for them could end in a circle.
        keys = list(rows.select_for_update(skip_locked=True).values_list("key", flat=True)[:PRUNED])
        return RateBucket.objects.filter(pk__in=keys).delete()[0]


def _demand(source: SessionSource, rates: Rates) -> Demand:
    platform = _platform(source.platform)
    if not rates or (platform and not platform.is_limited):
        return ()
    demand = []
    if BucketKind.CHAT in rates:
        demand.append(_chat(source))
    if BucketKind.SENDER in rates and source.participant:
        demand.append(Bucket(BucketKind.SENDER, _digest(source.platform, source.participant)))
    return tuple(demand)


def _platform(name: str) -> Platform | None:
    """Nothing for one that is not in this installation's code, whose events are limited and not answered."""
    try:
        return registry.get(name)
    except LookupError:
        return None


def _chat(source: SessionSource) -> Bucket:
    return Bucket(BucketKind.CHAT, _digest(source.platform, source.account, source.chat_id))


def _digest(*words: str) -> str:
    # repr() of a tuple keeps its words apart whatever they hold, and writes halves of surrogate pairs as ASCII.
    return hashlib.blake2b(repr(words).encode(), digest_size=16).hexdigest()


def _known(events: Sequence[InboundEvent]) -> set[str]:
    """Which of the events are rows already: the platform hands out again what it saw no acknowledgement for."""
    places: dict[tuple[str, str], list[str]] = {}
    for event in events:
        places.setdefault((event.source.platform, event.source.account), []).append(event.event_id)
    found: set[str] = set()
    for (platform, account), event_ids in places.items():
        rows = InboundMessage.objects.filter(platform=platform, account=account, event_id__in=event_ids)
        found.update(rows.values_list("event_id", flat=True))
    return found


def _unheard(events: Collection[InboundEvent]) -> list[tuple[InboundEvent, str]]:
    """The first event of each chat that has no window open, and the name of the window that this opens."""
    first: dict[Bucket, InboundEvent] = {}
    for event in events:
        if _wants_notice(event.source.platform):
            first.setdefault(_chat(event.source), event)
    return [(first[bucket], f"{bucket.name}/{at:%Y%m%d%H%M%S%f}") for bucket, at in _open_windows(first)]


def _tell(event: InboundEvent, limited: Limited, *, window: str) -> str:
    """Puts the notice into the outbox and returns the delivery lane to be rung for."""
    source = event.source
    log.info("Turned messages in %s chat %r away: they come too fast.", source.platform, source.chat_id)
    outbox.enqueue(
        outbox.Draft(
            key=f"limited/{window}",
            platform=source.platform,
            account=source.account,
            chat_id=source.chat_id,
            thread_id=source.thread_id,
            reply_to=event.message_id,
            text=limited.text,
        )
    )
    return delivery_key(platform=source.platform, account=source.account, chat_id=source.chat_id)


def _wants_notice(name: str) -> bool:
    platform = _platform(name)
    return platform is not None and not platform.answers_requests


def _limited(wait: float, *, at: datetime) -> Limited:
    seconds = max(1, math.ceil(wait))
    text = (
        f"You are writing faster than I can answer: since {at:%H:%M:%S} UTC I have left out messages. Please go on in"
        f" {seconds} second{'s' if seconds > 1 else ''}, and send again what I did not answer."
    )
    return Limited(seconds, text)


def _open_windows(chats: Collection[Bucket]) -> list[tuple[Bucket, datetime]]:
    """Opens a window for each chat that has none open, and says when it was opened; once over the whole fleet.

    The window is kept in the row of the chat's bucket. One from the future, which a clock that was set back leaves
    behind, counts as over.
    """
    if not chats:
        return []
    buckets = {bucket.key: bucket for bucket in sorted(chats, key=lambda bucket: bucket.key)}
    full = rates().get(BucketKind.CHAT)
    now = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (key, tokens, filled_at, noticed_at) VALUES"
            f" {', '.join([f'(%s, %s, {now}, {now})'] * len(buckets))}"
            f" ON CONFLICT (key) DO UPDATE SET noticed_at = {now} WHERE {TABLE}.noticed_at IS NULL"
            f" OR {TABLE}.noticed_at <= {clock.later()} OR {TABLE}.noticed_at > {clock.later()}"
            " RETURNING key, noticed_at",
            [
                *[value for key in buckets for value in (key, full.burst if full else 0)],
                -WINDOW_SECONDS,
                WINDOW_SECONDS,
            ],
        )
        opened = cursor.fetchall()
    return [
        (buckets[key], at if isinstance(at, datetime) else datetime.fromisoformat(at).replace(tzinfo=UTC))
        for key, at in opened
    ]
