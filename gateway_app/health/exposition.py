"""The text of /metrics: what all processes have counted, and how things are at this moment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping

from django.conf import settings
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gateway_app import backlog, metric_files
from gateway_app.backlog import Backlog

from .probe import NoAnswer, Probe


def expose(*, accept: str) -> tuple[bytes, str]:
    """The metrics and their content type, in the form that the `Accept` header `accept` asks for.

    Where the database does not answer within `settings.CHECK_SECONDS`, `hermes_database_up` is 0 and what would be
    read from it is left out.
    """
    registry = CollectorRegistry()
    registry.register(_Fixed(list(_now())))
    encode, content_type = choose_encoder(accept)
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # the folder could not be written to
        registry.register(_Fixed(list(REGISTRY.collect())))
        return encode(registry), content_type
    with metric_files.merged(settings.METRICS_DIR):
        MultiProcessCollector(registry, path=str(settings.METRICS_DIR))
        return encode(registry), content_type


def gauges(state: Backlog) -> Iterator[Metric]:
    """What the rows say. An age is left out where there is nothing to be of an age."""
    boxes = {("inbox",): state.inbox, ("outbox",): state.outbox, ("honcho",): state.honcho}
    kinds = {("turns",): state.turns, ("delivery",): state.delivery, ("honcho",): state.honcho_lanes}
    listeners = {(row.platform, row.account): row for row in state.listeners}
    yield _gauge("waiting", "Rows that wait.", ["box"], {box: row.waiting for box, row in boxes.items()})
    yield _gauge("running", "Rows in a turn or being sent.", ["box"], {box: row.running for box, row in boxes.items()})
    yield _gauge("dead_letters", "Rows that were given up.", ["box"], {box: row.dead for box, row in boxes.items()})
    yield _gauge(
        "oldest_waiting_seconds",
        "Age of the oldest row that waits.",
        ["box"],
        {box: row.oldest_seconds for box, row in boxes.items()},
    )
    yield _gauge("lanes_held", "Lanes that a worker is at.", ["kind"], {kind: row.held for kind, row in kinds.items()})
    yield _gauge(
        "lanes_due",
        "Lanes with something due that no worker is at.",
        ["kind"],
        {kind: row.due for kind, row in kinds.items()},
    )
    yield _gauge(
        "lane_overdue_seconds",
        "How long the lane that has waited longest for a worker has been due.",
        ["kind"],
        {kind: row.overdue_seconds for kind, row in kinds.items()},
    )
    yield _gauge(
        "listener_held",
        "Whether a listener process holds the credential's lease.",
        ["platform", "account"],
        {listener: float(row.is_held) for listener, row in listeners.items()},
    )
    yield _gauge(
        "listener_poll_age_seconds",
        "Since the last successful poll.",
        ["platform", "account"],
        {listener: row.poll_seconds for listener, row in listeners.items()},
    )
    yield _gauge("canary_age_seconds", "Since a task last came through the queue.", [], {(): state.canary_seconds})


def _now() -> Iterator[Metric]:
    try:
        state = _rows.ask().answer(deadline=time.monotonic() + settings.CHECK_SECONDS)
    except NoAnswer:
        state = None
    yield _gauge("database_up", "Whether the database answered this scrape in time.", [], {(): float(bool(state))})
    if state:
        yield from gauges(state)


def _gauge(name: str, help: str, labels: list[str], values: Mapping[tuple[str, ...], float | None]) -> Metric:
    metric = GaugeMetricFamily(f"hermes_{name}", help, labels=labels)
    for label, value in values.items():
        if value is not None:
            metric.add_metric(label, value)
    return metric


class _Fixed(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


_rows = Probe("metrics", backlog.read_all)
