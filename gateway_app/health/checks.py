"""What /readyz asks, and when the answer is good. Ages and amounts are in the answers; secrets never are."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import connection

from gateway_app import backlog
from gateway_app.backlog import Backlog, Box, Lanes, ListenerState
from gateway_app.duration import duration
from gateway_app.platforms import registry
from gateway_app.platforms.base import Platform

from .probe import Asking, NoAnswer, Probe

JUDGED = ("canary", "inbox", "outbox", "listeners")
"""Checks that are read from the database's rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`age` is in seconds, None where there is nothing to be of an age."""

    name: str
    ok: bool
    detail: str
    age: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "detail": self.detail, "age": None if self.age is None else round(self.age, 3)}


@dataclass(frozen=True, slots=True)
class Readiness:
    checks: list[Check]
    listeners: list[ListenerState] = field(default_factory=list)
    """Names the accounts and repeats what platforms said, so only operators may read it."""

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def to_json(self, *, for_operator: bool) -> dict[str, Any]:
        data: dict[str, Any] = {"ok": self.ok, "checks": {check.name: check.to_json() for check in self.checks}}
        if for_operator:
            data["listeners"] = [asdict(listener) for listener in self.listeners]
        return data


def read() -> Readiness:
    """Asks everything at once. Takes `settings.CHECK_SECONDS` at most and never raises."""
    deadline = time.monotonic() + settings.CHECK_SECONDS
    database, broker, rows = _database.ask(), _broker.ask(), _rows.ask()
    checks = [_reached("database", database, deadline=deadline), _reached("broker", broker, deadline=deadline)]
    try:
        state = rows.answer(deadline=deadline)
    except NoAnswer as error:
        return Readiness([*checks, *(Check(name=name, ok=False, detail=f"unknown: {error}") for name in JUDGED)])
    return Readiness([*checks, *judge(state)], state.listeners)


def judge(state: Backlog) -> list[Check]:
    """The checks that the state of the rows answers, in the order of `JUDGED`."""
    return [
        _canary(state),
        _taken("inbox", state.inbox, state.turns),
        _taken("outbox", state.outbox, state.delivery),
        _listeners(state),
    ]


def _canary(state: Backlog) -> Check:
    age = state.canary_seconds
    if age is None:
        return Check(name="canary", ok=False, detail="no canary task has come through the queue yet")
    detail = f"the last canary task came through the queue {duration(age)} ago"
    return Check(name="canary", ok=_is_fresh(age), detail=detail, age=age)


def _taken(name: str, box: Box, lanes: Lanes) -> Check:
    """Whether workers take up what is due.

    A row may well be old: it waits behind a long turn, or for the platform to come back. What counts is how long
    something has been due that no worker is at.
    """
    age = lanes.overdue_seconds
    waiting = f"{box.waiting} waiting"
    if box.oldest_seconds is not None:
        waiting += f", the oldest for {duration(box.oldest_seconds)}"
    if age is not None:
        waiting += f"; due and not taken for {duration(age)}"
    return Check(name=name, ok=age is None or _is_fresh(age), detail=waiting, age=box.oldest_seconds)


def _listeners(state: Backlog) -> Check:
    """Whether every credential of this installation is polled. Rows of credentials that are gone do not count."""
    states = {(row.platform, row.account): row for row in state.listeners}
    wanted = credentials()
    stale, ages = [], []
    for credential in wanted:
        row = states.get(credential)
        if row and row.poll_seconds is not None:
            ages.append(row.poll_seconds)
        if row is None or row.poll_seconds is None or not _is_fresh(row.poll_seconds):
            stale.append(credential[0])
    detail = f"{len(wanted) - len(stale)} of {len(wanted)} polled lately" if wanted else "nothing to poll is set up"
    if stale:
        detail += f"; not: {', '.join(sorted(set(stale)))}"
    return Check(name="listeners", ok=not stale, detail=detail, age=max(ages, default=None))


def credentials() -> list[tuple[str, str]]:
    """Platform and account of everything that a listener process of this installation must poll."""
    platforms = [registry.get(name) for name in registry.names()]
    return [
        (platform.name, account)
        for platform in platforms
        if type(platform).listen is not Platform.listen
        for account in platform.accounts()
    ]


def _is_fresh(age: float) -> bool:
    return age <= settings.READY_MAX_AGE_SECONDS


def _reached(name: str, asking: Asking[None], *, deadline: float) -> Check:
    try:
        asking.answer(deadline=deadline)
    except NoAnswer as error:
        return Check(name=name, ok=False, detail=str(error))
    return Check(name=name, ok=True, detail="reached")


def _reach_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _reach_broker() -> None:
    # Opens a channel too, for which the Redis transport sends a PING.
    with current_app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, interval_start=0)


_database = Probe("database", _reach_database)
_broker = Probe("broker", _reach_broker)
_rows = Probe("rows", backlog.read)
