"""Every Celery queue, in one place; a test proves that each task names one of them."""

from __future__ import annotations

from enum import StrEnum


class Queue(StrEnum):
    """A Celery queue. Workers of the all-in-one consume all of them."""

    TURNS = "turns"
    """One short message per ring of a session's lane; latency matters most here."""
    DELIVERY = "delivery"
    """Rings of chats whose first delivery attempt did not succeed; kept apart so that retries never delay turns."""
    HONCHO = "honcho"
    """Rings of sessions with something to be written to Honcho; a server that is slow keeps up nothing else."""
    MAINTENANCE = "maintenance"
    """Sweeps, the canary, pruning: work nobody waits for."""
