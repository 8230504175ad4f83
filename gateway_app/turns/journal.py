"""A turn's journal: every model reply and tool result is a row before the next step begins.

A worker that takes a turn over reads it and goes on where it ends: a paid-for reply is not bought again, and a
tool that had started but not finished is reported to the model as such.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway_app import lanes
from gateway_app.lanes import Claim
from gateway_app.models import TurnStep
from gateway_app.models.turn import StepKind
from gateway_app.statements import Statement, execute, insert

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    kind: StepKind
    payload: dict[str, Any]


def load(*, turn_id: int) -> list[Step]:
    """The steps so far, in order."""
    found = TurnStep.objects.filter(turn_id=turn_id).order_by("position").values_list("kind", "payload")
    return [Step(StepKind(kind), payload) for kind, payload in found]


def writing(*, turn_id: int, first: int, steps: Sequence[Step]) -> Statement:
    """The statement that adds steps with positions from `first` on, for a transaction that holds the lane."""
    return insert(
        TurnStep,
        columns=("turn_id", "position", "kind", "payload"),
        rows=[(turn_id, first + n, step.kind.value, json.dumps(step.payload)) for n, step in enumerate(steps)],
    )


def record(claim: Claim, *, turn_id: int, first: int, steps: Sequence[Step], besides: Sequence[Statement] = ()) -> None:
    """Adds steps in a fenced transaction of their own, in which `besides` run too. Raises `LaneLost`."""
    with lanes.fenced(claim):
        found, *_ = execute(lanes.holding(claim), writing(turn_id=turn_id, first=first, steps=steps), *besides)
        lanes.held(claim, found)


def commit(claim: Claim, function: Callable[[], T]) -> T:
    """Runs what a tool changes in a fenced transaction of its own, and returns its result. Raises `LaneLost`."""
    with lanes.fenced(claim):
        lanes.hold(claim)
        return function()
