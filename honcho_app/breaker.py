"""Leaves a server alone for a while that fails: what it cannot answer is then not waited for either."""

from __future__ import annotations

import time


class Breaker:
    """Opens after some failures in a row; when its time is over one call is let through, and decides.

    For one thread.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._opens_again: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether no call may be made now."""
        return self._opens_again is not None and time.monotonic() < self._opens_again

    def takes(self, *, seconds: float) -> bool:
        """Whether a call may be made now, whose outcome must be told. Where it is the one that tries again, no other
        may for `seconds`.
        """
        if self.is_open:
            return False
        if self._opens_again is not None:
            self._opens_again = time.monotonic() + seconds
        return True

    def failed(self, *, failures: int, seconds: float) -> None:
        """A call failed; after so many `failures` in a row none may be made for `seconds`."""
        self._failures += 1
        if self._failures >= failures:
            self._opens_again = time.monotonic() + seconds

    def succeeded(self) -> None:
        """A call was answered."""
        self._failures, self._opens_again = 0, None
