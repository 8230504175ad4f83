"""What can go wrong with a call to Honcho, and whether it may have taken effect all the same."""

from __future__ import annotations

from enum import StrEnum


class HonchoErrorKind(StrEnum):
    UNAVAILABLE = "unavailable"
    """No connection, or it broke."""
    TIMEOUT = "timeout"
    """No answer in time, or no thread to ask with."""
    UNAUTHORIZED = "unauthorized"
    """The key is missing, wrong, expired or for something else."""
    LIMITED = "limited"
    """Too many requests; `retry_after` says for how long, where the server does."""
    REJECTED = "rejected"
    """The server, or its client before it, will not take this however often it is sent."""
    NOT_FOUND = "not_found"
    SERVER = "server"
    """The server failed, or answered what its client cannot read."""


WORDS = {
    HonchoErrorKind.UNAVAILABLE: "Honcho cannot be reached",
    HonchoErrorKind.TIMEOUT: "Honcho did not answer in time",
    HonchoErrorKind.UNAUTHORIZED: "Honcho refused the key",
    HonchoErrorKind.LIMITED: "Honcho takes no more requests for now",
    HonchoErrorKind.REJECTED: "Honcho rejected the request",
    HonchoErrorKind.NOT_FOUND: "Honcho does not know what was asked for",
    HonchoErrorKind.SERVER: "Honcho failed",
}


class HonchoError(Exception):
    """A call that failed. Its text is for people and holds nothing of what was sent.

    `is_outcome_unknown`: the call may have taken effect. `retry_after` is in seconds, never longer than
    HERMES_HONCHO_RETRY_AFTER_MAX_SECONDS. `status` is HTTP's, 0 without an answer.
    """

    def __init__(
        self,
        kind: HonchoErrorKind,
        *,
        status: int = 0,
        retry_after: float | None = None,
        is_outcome_unknown: bool = False,
    ) -> None:
        super().__init__(f"{WORDS[kind]}{f' (HTTP {status})' if status else ''}.")
        self.kind = kind
        self.status = status
        self.retry_after = retry_after
        self.is_outcome_unknown = is_outcome_unknown

    @property
    def is_permanent(self) -> bool:
        """Whether the same call fails again however often it is made."""
        return self.kind in (HonchoErrorKind.REJECTED, HonchoErrorKind.NOT_FOUND)
