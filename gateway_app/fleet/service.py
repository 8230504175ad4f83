"""What the supervisor keeps alive: a command, its environment, and how it is stopped."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


class StopOrder(enum.IntEnum):
    """First what takes messages in, then what works on them, last what they all lean on."""

    INTAKE = 0
    WORK = 1
    CLOCK = 2
    GROUND = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Service:
    """One process of the fleet.

    `environment` is added to the supervisor's own. `stop_seconds` is how long it may take to end after
    SIGTERM. `port` is the one on loopback at which it answers once it is ready, for those that others wait for.
    `mend` is called when it has failed a few times in a row and returns what it did, in words.
    """

    name: str
    command: tuple[str, ...]
    stop_order: StopOrder
    stop_seconds: float
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    mend: Callable[[], str] | None = None
