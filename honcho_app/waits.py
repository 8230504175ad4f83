"""How long to wait before something is written to Honcho, or before Honcho is asked what it has of it."""

from __future__ import annotations

import random

from gateway_app.config import live as gateway


def before(*, attempt: int, retry_after: float | None = None) -> float:
    """Seconds before attempt number `attempt` (2 is the first retry): doubling, with jitter, bounded.

    A server's own `retry_after`, which is bounded where it is read, is never shortened.
    """
    own = gateway.config().honcho
    ceiling: float = min(own.write_backoff_seconds * 2 ** min(max(attempt - 2, 0), 30), own.write_backoff_max_seconds)
    wait: float = ceiling * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)
    return max(wait, retry_after or 0.0)


def until_settled() -> float:
    """Seconds after which a request that begins now has been carried out, or never will be.

    The client waits for a thread, then for the server; and the server may go on after the client has gone.
    """
    own = gateway.config().honcho
    seconds: float = 2 * own.write_timeout_seconds + own.write_settle_seconds
    return seconds
