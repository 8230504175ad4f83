"""What the processes count, for /metrics. Each process writes its own file; the web process adds them up."""

from __future__ import annotations

from django.conf import settings
from prometheus_client import Counter, Histogram

from gateway_app import metric_files

metric_files.claim(settings.METRICS_DIR)

ACCEPTED = Counter(
    "hermes_inbound", "Events from platforms, by what became of them at the door.", ["platform", "outcome"]
)
RINGS = Counter("hermes_rings", "Tasks published for lanes.", ["outcome"])
TURNS = Counter("hermes_turns", "Turns that ended.", ["outcome"])
TURN_SECONDS = Histogram(
    "hermes_turn_seconds",
    "From claim to commit of a turn.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
MODEL_SECONDS = Counter("hermes_model_seconds", "Time spent waiting for a model.", ["model"])
MODEL_TOKENS = Counter(
    "hermes_model_tokens",
    "Tokens of model calls; the cached ones are among the prompt's.",
    ["model", "kind"],
)
MODEL_FAILURES = Counter("hermes_model_failures", "Turns that a model failed.", ["kind"])
COMPRESSIONS = Counter("hermes_compressions", "Attempts to sum up the older part of a conversation.", ["outcome"])
RECALLS = Counter("hermes_recalls", "Messages beside which memory was to stand, by what became of that.", ["outcome"])
RECALL_WAIT_SECONDS = Histogram(
    "hermes_recall_wait_seconds",
    "What a message waited for memory.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1, 2.5),
)
RECALL_FETCHES = Counter("hermes_recall_fetches", "Memories to be fetched from Honcho.", ["outcome"])
RECALL_FETCH_SECONDS = Histogram(
    "hermes_recall_fetch_seconds",
    "How long Honcho took for a memory.",
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
FLUSHES = Counter("hermes_flushes", "Flushes of memory, by what they or an attempt at them came to.", ["outcome"])
DELIVERIES = Counter("hermes_deliveries", "Attempts to send a part.", ["platform", "outcome"])
HONCHO_WRITES = Counter("hermes_honcho_writes", "Messages for Honcho, by what came of a request.", ["outcome"])
HONCHO_WRITE_SECONDS = Histogram(
    "hermes_honcho_write_seconds",
    "Requests that write messages to Honcho, from their beginning to their answer or failure.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LANES_LOST = Counter("hermes_lanes_lost", "Commits refused because another worker had claimed the lane.")
