"""Keeps Python's garbage collector from walking, again and again, what a worker imported and will never drop."""

from __future__ import annotations

import gc
from typing import Any

from celery import signals

YOUNGEST = 20_000
"""New objects between two looks at the youngest; Python's own 700 is made for programs with fewer in flight."""


@signals.worker_ready.connect
def settle(**_: Any) -> None:
    """Sets aside all that exists once the worker has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST, 20, 20)
