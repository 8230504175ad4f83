"""How long to wait before an attempt."""

from __future__ import annotations

import random

from django.conf import settings


def wait_before(*, attempt: int, retry_after: float | None = None) -> float:
    """Seconds before attempt number `attempt` (2 is the first retry): doubling, with jitter, bounded.

    A platform's own `retry_after` is never shortened.
    """
    ceiling: float = min(
        settings.DELIVERY_BACKOFF_SECONDS * 2 ** max(attempt - 2, 0), settings.DELIVERY_BACKOFF_MAX_SECONDS
    )
    wait: float = ceiling * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)
    return max(wait, retry_after or 0.0)
