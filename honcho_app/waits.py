"""How long to wait before something is written to Honcho, or before Honcho is asked what it has of it."""

from __future__ import annotations

from gateway_app.config import live as gateway
from gateway_app.delivery.backoff import doubling


def before(*, attempt: int, retry_after: float | None = None) -> float:
    """Seconds before attempt number `attempt` (2 is the first retry). `retry_after` is bounded where it is read."""
    own = gateway.config().honcho
    return doubling(
        attempt=attempt,
        first=own.write_backoff_seconds,
        longest=own.write_backoff_max_seconds,
        retry_after=retry_after,
    )


def until_settled() -> float:
    """Seconds after which a request that begins now has been carried out, or never will be.

    The client waits for a thread, then for the server; and the server may go on after the client has gone.
    """
    own = gateway.config().honcho
    seconds: float = 2 * own.write_timeout_seconds + own.write_settle_seconds
    return seconds
