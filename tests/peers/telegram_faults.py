"""What the Telegram peer can be told to do wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

KINDS = ("error", "flood", "html", "garbage", "drop", "refuse", "slow", "truncated")


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong for calls of `method`, in `chat_id` only if that is given, `times` times or for ever.

    `error`: answers `status` with `description`. `flood`: answers 429 for `retry_after` seconds, and counts whoever
    does not wait that long. `html`: answers `status` with a page of a proxy. `garbage`: carries the call out and
    answers 200 with no JSON. `drop`: carries the call out and closes the connection. `refuse`: closes it without.
    `slow`: carries the call out `seconds` late. `truncated`, of the method `download`: sends half of the file.
    """

    kind: str
    method: str = "sendMessage"
    chat_id: int | None = None
    times: int | None = None
    status: int = 500
    description: str = "Internal Server Error"
    retry_after: int = 1
    seconds: float = 1.0
    parameters: dict[str, Any] | None = None
    _closed_until: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; allowed: {', '.join(KINDS)}")


class Faults:
    def __init__(self) -> None:
        self._all: list[Fault] = []
        self.impatient = 0
        """Calls made before a flood's `retry_after` had passed."""

    def add(self, fault: Fault) -> None:
        self._all.append(fault)

    def clear(self) -> None:
        self._all.clear()

    def find(self, *, method: str, chat_id: object) -> Fault | None:
        """The fault that this call meets, counted as met."""
        for fault in self._all:
            if fault.method != method or (fault.chat_id is not None and str(fault.chat_id) != str(chat_id)):
                continue
            if time.time() < fault._closed_until:
                self.impatient += 1
                return fault
            if fault.times == 0:
                continue
            if fault.times is not None:
                fault.times -= 1
            if fault.kind == "flood":
                fault._closed_until = time.time() + fault.retry_after
            return fault
        return None
