"""How long to wait before an attempt."""

from __future__ import annotations

import random

from django.conf import settings


def wait_before(*, attempt: int, retry_after: float | None = None) -> float:
    """Seconds before attempt number `attempt` to send (2 is the first retry)."""
    return doubling(
        attempt=attempt,
        first=settings.DELIVERY_BACKOFF_SECONDS,
        longest=settings.DELIVERY_BACKOFF_MAX_SECONDS,
        retry_after=retry_after,
    )


def doubling(*, attempt: int, first: float, longest: float, retry_after: float | None = None) -> float:
    """Seconds before attempt number `attempt`: `first` before the second, doubling up to `longest`, with jitter.

    A server's own `retry_after` is never shortened.
    """
    ceiling: float = min(first * 2 ** min(max(attempt - 2, 0), 30), longest)
    wait: float = ceiling * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)
    return max(wait, retry_after or 0.0)
