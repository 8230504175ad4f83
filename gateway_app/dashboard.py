"""The last hour in numbers, minute by minute, for the admin's first page.

Each of the three tables is read once, through the index on the time that its rows ended (or were accepted), and
counted by the database: the cost follows the hour's traffic, not the history.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, FloatField, Func, IntegerField, Sum
from django.db.models.functions import Floor, Greatest, Ln

from gateway_app import backlog
from gateway_app.backlog import Backlog
from gateway_app.models import InboundMessage, OutboundPart, Turn
from gateway_app.models.inbox import InboundState
from gateway_app.models.outbox import OutboundState
from gateway_app.models.turn import TurnState

MINUTES = 60

SHORTEST, GROWTH, CLASSES = 0.05, 1.5, 25
"""Turns are counted in classes by their duration: the first ends at 50 ms times 1.5, each further one at 1.5 times
that, the last is open from 14 minutes on. A percentile read from them needs no turn to be fetched."""

NOT_TAKEN = frozenset({InboundState.REFUSED, InboundState.REJECTED})


class MinuteOf(Func):
    """A moment as the number of minutes since 1970."""

    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(CAST(strftime('%%%%s', %(expressions)s) AS INTEGER) / 60)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "floor(date_part('epoch', %(expressions)s) / 60)"
        return self.as_sql(compiler, connection, template=template, **context)


class SecondsBetween(Func):
    """From the first moment to the second, in seconds."""

    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        start, end = self.get_source_expressions()
        span = Func(end, start, template="((julianday(%(expressions)s)) * 86400.0)", arg_joiner=") - julianday(")
        return span.as_sql(compiler, connection, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        start, end = self.get_source_expressions()
        span = Func(end, start, template="date_part('epoch', %(expressions)s)", arg_joiner=" - ")
        return span.as_sql(compiler, connection, **context)


@dataclass(slots=True)
class Slot:
    """One minute."""

    at: datetime
    accepted: int = 0
    not_taken: int = 0
    """Refused with an answer, or unreadable."""
    answered: int = 0
    failed: int = 0
    """Turns that ended with an error's explanation, or were given up."""
    delivered: int = 0
    undelivered: int = 0
    """Parts that became dead letters."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_seconds: float = 0.0
    durations: list[int] = field(default_factory=lambda: [0] * CLASSES)
    """Turns by class of duration."""

    @property
    def turns(self) -> int:
        return self.answered + self.failed

    @property
    def failures(self) -> int:
        return self.not_taken + self.failed + self.undelivered


@dataclass(frozen=True, slots=True)
class Dashboard:
    slots: list[Slot]
    """The last `MINUTES` minutes, oldest first; the last one is still going on."""
    backlog: Backlog

    def total(self, name: str) -> float:
        """The sum of a number over all minutes."""
        total: float = sum(getattr(slot, name) for slot in self.slots)
        return total

    def percentile(self, share: float) -> float | None:
        """Seconds within which `share` of the hour's turns ended; None where there was none."""
        return percentile([sum(counts) for counts in zip(*(slot.durations for slot in self.slots), strict=True)], share)


def read() -> Dashboard:
    """The last hour and this moment, by the database's clock. Raises `django.db.Error`."""
    state = backlog.read()
    return Dashboard(read_slots(now=state.read_at), state)


def read_slots(*, now: datetime) -> list[Slot]:
    """The minutes up to `now`, oldest first."""
    last = now.astimezone(UTC).replace(second=0, microsecond=0)
    slots = [Slot(last - timedelta(minutes=back)) for back in reversed(range(MINUTES))]
    by_minute = {int(slot.at.timestamp()) // 60: slot for slot in slots}
    _count_inbound(by_minute, since=slots[0].at)
    _count_turns(by_minute, since=slots[0].at)
    _count_outbound(by_minute, since=slots[0].at)
    return slots


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The seconds within which `share` (0 to 1) of what was counted lies; `counts` are by class.

    Within a class durations are taken to be spread evenly; in the open last one it is that class's start.
    """
    if not any(counts):
        return None
    wanted = sum(counts) * share
    passed, number = 0, 0
    while passed + counts[number] < wanted or not counts[number]:
        passed += counts[number]
        number += 1
    low = SHORTEST * GROWTH**number if number else 0.0
    high = SHORTEST * GROWTH ** (number + 1) if number < CLASSES - 1 else low
    return low + (high - low) * (wanted - passed) / counts[number]


def _count_inbound(slots: Mapping[int, Slot], *, since: datetime) -> None:
    rows = (
        InboundMessage.objects.filter(accepted_at__gte=since)
        .values_list(MinuteOf("accepted_at"), "state")
        .annotate(Count("id"))
        .order_by()
    )
    for minute, state, count in rows:
        if slot := slots.get(minute):
            if state in NOT_TAKEN:
                slot.not_taken += count
            else:
                slot.accepted += count


def _count_turns(slots: Mapping[int, Slot], *, since: datetime) -> None:
    seconds = Greatest(SecondsBetween("started_at", "finished_at"), SHORTEST, output_field=FloatField())
    number = Floor(Ln(seconds / SHORTEST) / math.log(GROWTH))
    rows = (
        Turn.objects.filter(finished_at__gte=since)
        .values_list(MinuteOf("finished_at"), "state", number)
        .annotate(Count("id"), Sum("prompt_tokens"), Sum("completion_tokens"), Sum("model_seconds"))
        .order_by()
    )
    for minute, state, duration, count, prompt, completion, model_seconds in rows:
        if slot := slots.get(minute):
            if state in (TurnState.DONE, TurnState.STOPPED):
                slot.answered += count
            else:
                slot.failed += count
            slot.durations[min(int(duration), CLASSES - 1)] += count
            slot.prompt_tokens += prompt
            slot.completion_tokens += completion
            slot.model_seconds += model_seconds


def _count_outbound(slots: Mapping[int, Slot], *, since: datetime) -> None:
    rows = (
        OutboundPart.objects.filter(finished_at__gte=since)
        .values_list(MinuteOf("finished_at"), "state")
        .annotate(Count("id"))
        .order_by()
    )
    for minute, state, count in rows:
        if slot := slots.get(minute):
            if state == OutboundState.SENT:
                slot.delivered += count
            else:
                slot.undelivered += count
