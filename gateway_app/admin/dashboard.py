"""The admin's first page: how the gateway is doing, in figures and charts of the last hour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from gateway_app import dashboard
from gateway_app.backlog import Box, Lanes
from gateway_app.dashboard import Dashboard, Slot
from gateway_app.duration import duration
from gateway_app.health import checks
from gateway_app.models import Turn
from gateway_app.models.turn import TurnState

from . import charts
from .base import shorten, when
from .charts import Chart, Series
from .navigation import DEAD, pending_count

NEEDED = ("view_inboundmessage", "view_turn", "view_outboundpart", "view_listener", "view_lane")
"""What a person must be allowed to see one by one to see the sum of it."""
RECENT = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """A number on a card. `tone` is `good`, `bad` or nothing."""

    title: str
    value: str
    note: str
    tone: str = ""
    link: str = ""


def with_dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds the dashboard to the page's context, for those who may see it."""
    if not all(request.user.has_perm(f"gateway_app.{name}") for name in NEEDED):
        return context
    found = dashboard.read()
    failing = [check for check in checks.judge(found.backlog) if not check.ok]
    return {
        **context,
        "read_at": when(found.backlog.read_at),
        "failing": failing,
        "figures": [*_access(request), *figures(found)],
        "charts": draw(found.slots),
        "listeners": [
            {
                "row": row,
                "poll": "never" if row.poll_seconds is None else f"{duration(row.poll_seconds)} ago",
                "late": row.poll_seconds is None or row.poll_seconds > settings.READY_MAX_AGE_SECONDS,
                "error": shorten(row.error),
            }
            for row in found.backlog.listeners
        ],
        "troubles": _troubles(),
    }


def figures(found: Dashboard) -> list[Figure]:
    """The cards, in their order."""
    state = found.backlog
    turns, failed = found.total("turns"), found.total("failed")
    dead = state.inbox.dead + state.outbox.dead
    canary = state.canary_seconds
    dead_box = "inboundmessage" if state.inbox.dead or not state.outbox.dead else "outboundpart"
    return [
        _waiting("Oldest waiting message", state.inbox, state.turns, "inboundmessage"),
        _waiting("Oldest waiting reply", state.outbox, state.delivery, "outboundpart"),
        Figure(
            "Dead letters",
            f"{dead:,}",
            f"{state.inbox.dead:,} incoming, {state.outbox.dead:,} outgoing" if dead else "nothing was given up",
            "bad" if dead else "good",
            f"{_list(dead_box)}?{DEAD}",
        ),
        Figure("Turns", f"{turns:,.0f}", f"in the last hour, {failed:,.0f} of them failed", "", _list("turn")),
        Figure(
            "Turn time",
            duration(found.percentile(0.5)),
            f"half of them; 95 of 100 within {duration(found.percentile(0.95))}"
            if turns
            else "no turn in the last hour",
        ),
        Figure(
            "Model",
            f"{found.total('prompt_tokens') + found.total('completion_tokens'):,.0f}",
            f"tokens; {duration(found.total('model_seconds'))} of model time",
        ),
        Figure(
            "Canary",
            duration(canary),
            "since a task came through the queue" if canary is not None else "no task has come through the queue",
            "good" if canary is not None and canary <= settings.READY_MAX_AGE_SECONDS else "bad",
            _list("heartbeat"),
        ),
        Figure(
            "Workers", f"{state.turns.held:,}", "sessions held by workers now", "", f"{_list('lane')}?activity=held"
        ),
    ]


def _access(request: HttpRequest) -> list[Figure]:
    """People who wait at the door, for those who may see them; no card where nobody waits."""
    waiting = pending_count(request)
    if not waiting:
        return []
    note = "waits for a decision" if waiting == 1 else "wait for a decision"
    return [Figure("Pairing", f"{waiting:,}", f"{note}; a code is good for an hour", "", _list("pairingrequest"))]


def draw(slots: list[Slot]) -> list[Chart]:
    """The charts, in their order."""
    minutes = [slot.at for slot in slots]

    def series(name: str, colour: str, field: str) -> Series:
        return Series(name, colour, [float(getattr(slot, field)) for slot in slots])

    def percentiles(name: str, colour: str, share: float) -> Series:
        return Series(name, colour, [dashboard.percentile(slot.durations, share) for slot in slots])

    return [
        charts.lines(
            name="throughput",
            title="Throughput per minute",
            minutes=minutes,
            series=[
                series("accepted", "blue", "accepted"),
                series("turns", "teal", "turns"),
                series("deliveries", "violet", "delivered"),
            ],
            show=_count,
        ),
        charts.bars(
            name="failures",
            title="Failures per minute",
            minutes=minutes,
            series=[
                series("not taken", "amber", "not_taken"),
                series("failed turns", "red", "failed"),
                series("undeliverable", "violet", "undelivered"),
            ],
            show=_count,
        ),
        charts.lines(
            name="latency",
            title="Turn time",
            minutes=minutes,
            series=[percentiles("95 of 100 within", "amber", 0.95), percentiles("half within", "teal", 0.5)],
            show=duration,
        ),
        charts.bars(
            name="tokens",
            title="Model tokens per minute",
            minutes=minutes,
            series=[series("prompt", "blue", "prompt_tokens"), series("completion", "teal", "completion_tokens")],
            show=_count,
        ),
        charts.bars(
            name="model-time",
            title="Model time per minute",
            minutes=minutes,
            series=[series("model time", "teal", "model_seconds")],
            show=duration,
        ),
    ]


def _waiting(title: str, box: Box, lanes: Lanes, model: str) -> Figure:
    overdue = lanes.overdue_seconds
    note = f"{box.waiting:,} waiting" if box.waiting else "nothing waits"
    if overdue is not None and overdue > 1:
        note += f"; no worker took what is due for {duration(overdue)}"
    late = overdue is not None and overdue > settings.READY_MAX_AGE_SECONDS
    link = f"{_list(model)}?state__exact=waiting"
    return Figure(title, duration(box.oldest_seconds), note, "bad" if late else "", link)


def _troubles() -> list[dict[str, Any]]:
    """The turns that failed last."""
    # The exclusion only names the condition of the index, which SQLite needs to use it.
    rows = Turn.objects.exclude(state=TurnState.DONE)
    found = [
        row
        for state in (TurnState.FAILED, TurnState.DEAD)
        for row in rows.filter(state=state).order_by("-id").select_related("session")[:RECENT]
    ]
    newest = sorted(found, key=lambda row: row.pk, reverse=True)[:RECENT]
    return [{"turn": row, "at": when(row.finished_at), "why": shorten(row.error or row.error_kind)} for row in newest]


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _list(model: str) -> str:
    return reverse(f"admin:gateway_app_{model}_changelist")
