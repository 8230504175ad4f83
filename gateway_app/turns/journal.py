"""A turn's journal: every model reply and tool result is a row before the next step begins.

A worker that takes a turn over reads it and goes on where it ends: a paid-for reply is not bought again, and a
tool that had started but not finished is reported to the model as such.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gateway_app import lanes
from gateway_app.lanes import Claim
from gateway_app.models import TurnStep
from gateway_app.models.turn import StepKind
from gateway_app.statements import Statement, execute, insert


@dataclass(frozen=True, slots=True)
class Step:
    kind: StepKind
    payload: dict[str, Any]


def load(*, turn_id: int) -> list[Step]:
    """The steps so far, in order."""
    found = TurnStep.objects.filter(turn_id=turn_id).order_by("position").values_list("kind", "payload")
    return [Step(StepKind(kind), payload) for kind, payload in found]


def writing(*, turn_id: int, first: int, steps: list[Step]) -> Statement:
    """The statement that adds steps with positions from `first` on, for a transaction that holds the lane."""
    return insert(
        TurnStep,
        columns=("turn_id", "position", "kind", "payload"),
        rows=[(turn_id, first + n, step.kind.value, json.dumps(step.payload)) for n, step in enumerate(steps)],
    )


def record(claim: Claim, *, turn_id: int, first: int, steps: list[Step]) -> None:
    """Adds steps in a fenced transaction of their own. Raises `LaneLost`."""
    with lanes.fenced(claim):
        lanes.hold(claim)
        execute(writing(turn_id=turn_id, first=first, steps=steps))
