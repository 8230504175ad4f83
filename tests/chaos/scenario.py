"""What a scenario is, and how it is run and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.fleet import Fleet
from tests.chaos.traffic import Tally, Traffic

BOTH = ("sqlite", "postgresql")
Run = Callable[[Fleet], Tally]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to break a fleet. `run` breaks it under traffic and returns the tally."""

    title: str
    run: Run
    unknown: int
    """Most send attempts whose outcome may be left unknown: those a killed worker had under way, one for each chat."""
    databases: tuple[str, ...]
    fleet: Mapping[str, Any] = field(default_factory=dict)
    """Options of a fleet of its own; empty where it runs in the one that all share."""


@dataclass(frozen=True, slots=True)
class Result:
    scenario: Scenario
    database: str
    tally: Tally


ALL: list[Scenario] = []


def scenario(
    title: str, *, unknown: int = 0, databases: tuple[str, ...] = BOTH, fleet: Mapping[str, Any] | None = None
) -> Callable[[Run], Run]:
    """Registers a function as a scenario."""

    def register(run: Run) -> Run:
        ALL.append(Scenario(title=title, run=run, unknown=unknown, databases=databases, fleet=fleet or {}))
        return run

    return register


def of(run: Run) -> Scenario:
    """The scenario that a function is."""
    return next(found for found in ALL if found.run is run)


def prove(found: Scenario, fleet: Fleet) -> Result:
    """Runs it and leaves the fleet whole. Raises AssertionError if anything is lost, doubled, misplaced or crossed."""
    try:
        tally = found.run(fleet)
        if wrong := judge(tally, unknown=found.unknown):
            raise AssertionError(f"{'; '.join(wrong)}: {tally}")
    except AssertionError as error:
        raise AssertionError(f"{found.title}: {error}\n{fleet.report()}") from None
    finally:
        fleet.mend()
    return Result(found, fleet.database.vendor, tally)


def judge(tally: Tally, *, unknown: int) -> list[str]:
    """What is wrong with a tally, in words."""
    wrong = [
        f"{found} {name}"
        for name in ("lost", "duplicated", "out_of_order", "crossed")
        if (found := getattr(tally, name))
    ]
    if not tally.sent == tally.accepted == tally.answered:
        wrong.append("not every message was accepted and answered")
    if tally.unknown > unknown:
        wrong.append(f"{tally.unknown} attempts with an unknown outcome, {unknown} allowed")
    if tally.repeated > tally.unknown:
        wrong.append("more was repeated than had an unknown outcome")
    return wrong


def settled(*all_traffic: Traffic) -> Tally:
    """The sum of what came of the traffic, once it is all answered. Raises AssertionError for contradictory rows."""
    total = Tally()
    for traffic in all_traffic:
        total += traffic.settle()
        if wrong := contradictions(traffic):
            raise AssertionError("; ".join(wrong))
    return total


def contradictions(traffic: Traffic) -> list[str]:
    """What the rows of this traffic say that cannot be true together, although every answer was seen."""
    rows = traffic.rows
    sessions = "(SELECT id FROM gateway_app_session WHERE user_id IN {users})"
    states = "SELECT state, count(*) FROM {table} WHERE {mine} AND state NOT IN ('done', 'stopped') GROUP BY state"
    wrong = []
    for table, mine in (
        ("gateway_app_inboundmessage", "user_id IN {users}"),
        ("gateway_app_turn", f"session_id IN {sessions}"),
    ):
        wrong += [
            f"{count} rows of {table} are {state}"
            for state, count in rows(states.replace("{table}", table).replace("{mine}", mine))
        ]
    said = "SELECT count(*) FROM gateway_app_transcriptmessage said WHERE said.turn_id = turn.id AND said.role ="
    for turn_id, is_stopped, asked, answers, commands, parts in rows(
        f"SELECT turn.id, turn.state = 'stopped', ({said} 'user'), ({said} 'assistant' AND said.tool_calls IS NULL),"
        " (SELECT count(*) FROM gateway_app_inboundmessage event WHERE event.turn_id = turn.id"
        " AND substr(event.text, 1, 1) = '/'),"
        " (SELECT count(*) FROM gateway_app_outboundpart part WHERE part.turn_id = turn.id AND part.state = 'sent')"
        f" FROM gateway_app_turn turn WHERE session_id IN {sessions}"
    ):
        expected = (0, 0) if commands else (1, 1)  # nothing of a command is in the transcript
        # What a turn that was stopped is answered with comes from no turn.
        if (asked, answers) != expected or not (parts or is_stopped):
            wrong.append(f"turn {turn_id} has {asked} questions, {answers} answers and {parts} sent parts")
    return wrong
