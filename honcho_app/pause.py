"""Leaves the Honcho server alone for a while where it is away, refuses the key, or asks for that.

A worker process that has found it so writes nothing at all until then, instead of trying lane by lane.
"""

from __future__ import annotations

import time

from . import waits


class Pause:
    """Grows with each failure in a row. For one process; the others find out for themselves."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self._until

    def begin(self, *, retry_after: float | None = None) -> float:
        """The server failed as a whole; returns for how many seconds it is left alone."""
        # What was under way when the pause began fails for the same reason, and does not make it longer.
        if not self.is_on:
            self._failures += 1
        seconds = waits.before(attempt=self._failures + 1, retry_after=retry_after)
        self._until = max(self._until, time.monotonic() + seconds)
        return seconds

    def end(self) -> None:
        """The server has answered."""
        self._failures, self._until = 0, 0.0


pause = Pause()
"""This process's."""
