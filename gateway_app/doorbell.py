"""Rings: one Celery task for a lane that has something waiting. A lost ring costs time only; the sweep rings again."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from celery import Task
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from gateway_app import lanes, metrics
from gateway_app.models import InboundMessage
from gateway_app.models.inbox import OPEN_STATES
from gateway_app.models.lane import LaneKind
from gateway_app.sessions.routing import context_of, open_sessions
from gateway_app.sessions.source import SessionContext, SessionSource

log = logging.getLogger(__name__)

HONCHO_RUNG = 20
"""Lanes of Honcho that a sweep rings for."""


def ring(contexts: Iterable[SessionContext]) -> None:
    """Publishes turn tasks for the sessions. Never raises: what could not be published is rung by the sweep.

    Sessions that are rung for together travel up to RING_BATCH in a task, since a task costs as much as its turn.
    """
    from gateway_app.tasks import run_turn

    waiting = [context.to_json() for context in contexts]
    for first in range(0, len(waiting), settings.RING_BATCH):
        if not _publish(run_turn, *waiting[first : first + settings.RING_BATCH]):
            return


def ring_sessions(keys: Iterable[str]) -> None:
    """Publishes a turn task for each session key that has something open. Raises only `django.db.Error`."""
    ring(_contexts(list(keys)).values())


def ring_delivery(keys: Iterable[str]) -> None:
    """Publishes a delivery task for each chat's lane. Never raises."""
    from gateway_app.tasks import deliver

    for key in keys:
        if not _publish(deliver, key):
            return


def ring_honcho(keys: Iterable[str]) -> None:
    """Publishes a task for each Honcho session key that has something to be written. Never raises."""
    from honcho_app.tasks import write_honcho

    for key in keys:
        if not _publish(write_honcho, key):
            return


def ring_flushes() -> None:
    """Publishes a task that carries out what flushes of memory are due. Never raises: beat does the same."""
    from gateway_app.tasks import flush_memory

    _publish(flush_memory)


def sweep() -> int:
    """Rings for every lane that has something due and no live lease; returns how many.

    For Honcho's few at a time, however many those are after an outage: each task goes on with others.
    """
    due = lanes.due(limit=settings.SWEEP_BATCH, kinds=(LaneKind.TURNS, LaneKind.DELIVERY))
    writes = lanes.due(limit=HONCHO_RUNG, kinds=[LaneKind.HONCHO])
    contexts = _contexts([key for kind, key in due if kind == LaneKind.TURNS])
    ring(contexts.values())
    for kind, key in due:
        if kind == LaneKind.TURNS and key not in contexts:
            _settle(key)
    ring_delivery(key for kind, key in due if kind == LaneKind.DELIVERY)
    ring_honcho(key for _, key in writes)
    return len(due) + len(writes)


def _settle(key: str) -> None:
    """Takes a session off the sweep's list that has nothing open, such as one that only got known events again."""
    with transaction.atomic():
        claim = lanes.claim(kind=LaneKind.TURNS, key=key)
        if claim:
            is_open = InboundMessage.objects.filter(lane_id=claim.lane_id, state__in=OPEN_STATES).exists()
            lanes.release(claim, wake_at=timezone.now() if is_open else None)


def _contexts(keys: list[str]) -> dict[str, SessionContext]:
    """The contexts of the oldest open message in each session's lane."""
    oldest: dict[str, SessionSource] = {}
    found = (
        InboundMessage.objects.filter(lane__kind=LaneKind.TURNS, lane__key__in=keys, state__in=OPEN_STATES)
        .order_by("lane_id", "-seq")
        .values_list("lane__key", "source")
    )
    for key, source in found:
        oldest[key] = SessionSource.from_json(source)
    sessions = open_sessions(oldest)
    return {key: context_of(source, session_id=sessions[key].session_id) for key, source in oldest.items()}


def _publish(task: Task, *arguments: object) -> bool:
    try:
        task.apply_async(args=arguments)
    except Exception as error:  # a broker's client raises its own, kombu's and the socket's errors
        metrics.RINGS.labels(outcome="failed").inc()
        log.warning("The broker did not take a ring (%s); the sweep will ring again.", type(error).__name__)
        return False
    metrics.RINGS.labels(outcome="published").inc()
    return True
