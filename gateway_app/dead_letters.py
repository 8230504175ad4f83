"""Dead letters: what the pipeline gave up. An operator puts them back in their place, or lets them go.

Each function takes row ids, changes those that are dead letters at that moment and returns them; ids of other
rows are passed over, so that what two operators ask for at once is done once.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from gateway_app import doorbell, lanes
from gateway_app.models import InboundMessage, Lane, OutboundPart
from gateway_app.models.inbox import InboundState
from gateway_app.models.outbox import OutboundState
from honcho_app.models import HonchoWrite
from honcho_app.models.write import WriteState

log = logging.getLogger(__name__)

Box = type[InboundMessage] | type[OutboundPart] | type[HonchoWrite]

BATCH = 500
"""Rows of one transaction where many are asked for; their lanes stay locked for its length."""
RUNG = 50
"""Lanes of one transaction that are rung at once; the sweep, seconds later, rings for the rest."""


def replay_inbound(*, ids: Iterable[int]) -> list[int]:
    """Has messages answered after all, before anything of their sessions that came later and still waits."""
    return _replay(
        InboundMessage,
        ids,
        ring=doorbell.ring_sessions,
        state=InboundState.WAITING,
        turn=None,
        reason="",
        finished_at=None,
    )


def discard_inbound(*, ids: Iterable[int]) -> list[int]:
    """Lets messages go unanswered. They stay in the inbox as discarded."""
    return _discard(InboundMessage, ids, state=InboundState.DISCARDED)


def replay_outbound(*, ids: Iterable[int]) -> list[int]:
    """Has parts sent after all, with all their attempts ahead of them.

    Attempts that may have reached the platform stay counted in `unknown_outcomes`. Sealed parts are passed over: their
    text was erased when they were given up.
    """
    return _replay(
        OutboundPart,
        ids,
        ring=doorbell.ring_delivery,
        state=OutboundState.WAITING,
        attempts=0,
        next_attempt_at=None,
        finished_at=None,
    )


def discard_outbound(*, ids: Iterable[int]) -> list[int]:
    """Lets parts go unsent. They stay in the outbox as discarded."""
    return _discard(OutboundPart, ids, state=OutboundState.DISCARDED)


def replay_write(*, ids: Iterable[int]) -> list[int]:
    """Has messages written to Honcho after all; behind what was said later, as far as that was written meanwhile."""
    return _replay(
        HonchoWrite,
        ids,
        ring=doorbell.ring_honcho,
        state=WriteState.WAITING,
        attempts=0,
        next_attempt_at=None,
        finished_at=None,
    )


def discard_write(*, ids: Iterable[int]) -> list[int]:
    """Lets messages go unremembered. They stay in the ledger as discarded."""
    return _discard(HonchoWrite, ids, state=WriteState.DISCARDED)


def dead_rows(box: Box) -> QuerySet[Any]:
    """The dead letters of a box."""
    usual = InboundState.DONE if box is InboundMessage else OutboundState.SENT  # `sent` is Honcho's word as well
    # The exclusion only names the condition of the index on states, which SQLite needs to use it.
    return box._default_manager.exclude(state=usual).filter(state="dead")


def every_id(box: Box) -> Iterator[list[int]]:
    """The ids of all dead letters of a box, oldest first, `BATCH` at a time; each comes once."""
    last = 0
    while ids := list(dead_rows(box).filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]):
        yield ids
        last = ids[-1]


def in_batches(ids: Iterable[int]) -> Iterator[list[int]]:
    """`ids`, each once, `BATCH` at a time."""
    unique = sorted(set(ids))
    for start in range(0, len(unique), BATCH):
        yield unique[start : start + BATCH]


def _replay(box: Box, ids: Iterable[int], *, ring: Callable[[list[str]], None], **values: object) -> list[int]:
    replayed: list[int] = []
    for batch in in_batches(ids):
        with transaction.atomic():
            found = _lock(box, batch, **({"is_sealed": False} if box is OutboundPart else {}))
            lane_ids = sorted({lane_id for _, lane_id in found if lane_id is not None})
            changed = [pk for pk, lane_id in found if lane_id is not None]
            box._default_manager.filter(pk__in=changed).update(**values)
            # Always in the same order, after the rows: two replays never wait for each other.
            for lane_id in lane_ids:
                lanes.wake(lane_id=lane_id)
            keys = list(Lane.objects.filter(pk__in=lane_ids[:RUNG]).values_list("key", flat=True))
            transaction.on_commit(functools.partial(ring, keys), robust=True)
        replayed += changed
    if replayed:
        log.info("Replayed dead letters: %s %s.", box._meta.verbose_name_plural, replayed)
    return replayed


def _discard(box: Box, ids: Iterable[int], *, state: str) -> list[int]:
    discarded: list[int] = []
    for batch in in_batches(ids):
        with transaction.atomic():
            changed = [pk for pk, _ in _lock(box, batch)]
            box._default_manager.filter(pk__in=changed).update(state=state)
        discarded += changed
    if discarded:
        log.info("Discarded dead letters: %s %s.", box._meta.verbose_name_plural, discarded)
    return discarded


def _lock(box: Box, ids: list[int], **only: bool) -> list[tuple[int, int | None]]:
    """Ids and lanes of those that are dead letters still, locked until the transaction ends."""
    rows = dead_rows(box).filter(pk__in=ids, **only).select_for_update()
    return list(rows.order_by("pk").values_list("pk", "lane_id"))
