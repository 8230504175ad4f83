"""What the Honcho peer can be told to do wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

KINDS = ("error", "late", "slow", "drop", "refuse", "hang")

EMBEDDED = ("search", "search_session", "search_peer", "query_conclusions", "create_conclusions", "chat")
"""The calls that fail while the server's embedding provider is down; all others go on."""


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong for calls of `operation` ("" for all), `times` times or for ever.

    `session` and `workspace`, where given, limit it to calls that name them; `after` lets as many calls pass first.

    `error`: answers `status`, with `retry_after` as the header of that name, and carries nothing out. `late`: carries
    the call out and answers `seconds` later. `slow`: carries it out `seconds` later, also where the client has gone by
    then, as the real server does. `drop`: carries it out and closes the connection. `refuse`: closes it without.
    `hang`: neither answers nor carries anything out.
    """

    kind: str
    operation: str = ""
    session: str = ""
    workspace: str = ""
    times: int | None = None
    after: int = 0
    status: int = 500
    retry_after: float | None = None
    seconds: float = 1.0
    met: int = 0
    """How many calls have met it."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; allowed: {', '.join(KINDS)}")

    def fits(self, *, operation: str, sessions: list[str], workspace: str) -> bool:
        return (
            self.operation in ("", operation)
            and (not self.session or self.session in sessions)
            and self.workspace in ("", workspace)
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Faults:
    """The faults that are set, the oldest first; a call meets the first that fits it."""

    def __init__(self) -> None:
        self.all: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.all.append(fault)

    def clear(self) -> None:
        self.all.clear()

    def find(self, *, operation: str, sessions: list[str], workspace: str) -> Fault | None:
        """The fault that this call meets, counted as met."""
        for fault in self.all:
            if not fault.fits(operation=operation, sessions=sessions, workspace=workspace):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times is not None and fault.met >= fault.times:
                continue
            fault.met += 1
            return fault
        return None
