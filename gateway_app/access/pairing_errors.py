"""Why a pairing was not approved or denied, in words for the operator. None of them ever repeats a code."""

from __future__ import annotations

from datetime import datetime

from gateway_app.models import PairingRequest
from gateway_app.models.pairing import PairingState


class PairingError(Exception):
    """What was asked for was not done; the text says why and what is possible."""


class UnknownPlatform(PairingError):
    """Nobody can be paired on a platform of this name."""


class UnknownRequest(PairingError):
    """There is no request with this number that could be decided."""


class UnknownCode(PairingError):
    """No request has this code. It counts: `left` more wrong codes lock the platform, 0 where this one has."""

    def __init__(self, *, platform: str, left: int, why: str = "", until: datetime | None = None) -> None:
        reason = f"That is no code: {why}." if why else f"Nobody on {platform} has that code."
        after = f"Pairing on {platform} is locked until {_said(until)}." if until else f"Wrong codes left: {left}."
        super().__init__(f"{reason} {after}")
        self.left = left
        self.until = until


class CodeExpired(PairingError):
    """The code was real and its time is over."""

    def __init__(self, request: PairingRequest) -> None:
        super().__init__(
            f"The code of {named(request)} is no longer good: {request.reason}."
            " They get a new one when they write again."
        )
        self.request = request


class AlreadyDecided(PairingError):
    """Somebody was first."""

    def __init__(self, request: PairingRequest) -> None:
        # The label for a cleared request already says that it was an operator.
        verb = "cleared" if request.state == PairingState.CLEARED else str(PairingState(request.state).label)
        super().__init__(f"{named(request)} was {verb} by {request.decided_by}, {_said(request.decided_at)}.")
        self.request = request


class Banned(PairingError):
    """The person is banned, so that an approval would let nobody in."""

    def __init__(self, request: PairingRequest, *, rule: str) -> None:
        super().__init__(f"{named(request)} is banned by {rule}. Take the ban back first.")
        self.request = request


class LockedOut(PairingError):
    """Too many wrong codes: on this platform no code is given out and nobody is approved until `until`."""

    def __init__(self, *, platform: str, until: datetime) -> None:
        super().__init__(
            f"Pairing on {platform} is locked until {_said(until)}, after too many wrong codes."
            " Until then nobody gets a code and nobody is approved."
        )
        self.until = until


def named(request: PairingRequest) -> str:
    """A request for people: `#12 (telegram 77, Ann)`."""
    name = f", {request.user_name}" if request.user_name else ""
    return f"#{request.pk} ({request.platform} {request.user_id}{name})"


def _said(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "?"
