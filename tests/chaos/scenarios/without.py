"""Each guard, proved by what happens without it: the same scenario in a fleet that has it and in one that has not."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.fleet import LEASE_SECONDS, Fleet
from tests.chaos.memories import Remembering
from tests.chaos.scenario import BOTH, Run
from tests.chaos.scenarios import memory
from tests.chaos.scenarios.listeners import polling
from tests.chaos.traffic import Tally, Traffic
from tests.peers.model_script import Behaviour

PATIENCE = 8.0
"""Seconds that a fleet without a guard has to do what one with it does in three."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard, the promise that rests on it, and a scenario in which it is all that keeps the promise."""

    promise: str
    title: str
    run: Run
    without: tuple[str, ...] = ()
    """As `tests.chaos.guards` calls it; empty where it is a setting."""
    off: Mapping[str, str] = field(default_factory=dict)
    """The setting that takes it out."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What both fleets are set to, so that no other guard does its work."""
    besides: tuple[str, ...] = ()
    """Other guards that are taken out of both fleets, for the same reason."""
    databases: tuple[str, ...] = BOTH
    fleet: Mapping[str, Any] = field(default_factory=dict)
    """More options of both fleets."""


def given_up(traffic: Traffic) -> Tally:
    """What came of the traffic, also where the fleet has lost patience."""
    try:
        return traffic.settle()
    except AssertionError:
        return traffic.tally()


def worker_killed(point: str, *, skip: int = 0, rounds: int = 1) -> Run:
    def run(fleet: Fleet) -> Tally:
        trap = fleet.trap("worker", point, skip=skip)
        traffic = Traffic(fleet, chats=3)
        traffic.write(rounds=rounds)
        trap.wait()
        traffic.write()
        return given_up(traffic)

    return run


def listener_killed(point: str) -> Run:
    def run(fleet: Fleet) -> Tally:
        trap = fleet.trap("listener", point)
        traffic = Traffic(fleet, chats=3)
        before = fleet.telegram.stats
        traffic.write()
        trap.wait()
        # Known events may come again until then, and must change nothing.
        fleet.wait(
            lambda: (
                fleet.telegram.stats["confirmed"] - before["confirmed"]
                >= fleet.telegram.stats["pushed"] - before["pushed"]
            ),
            "the updates to be acknowledged",
        )
        total = given_up(traffic)
        # What was acknowledged and is no row is lost as well.
        return total + Tally(lost=total.sent - total.accepted) if total.accepted < total.sent else total

    return run


def slow_model(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=Behaviour(delay=1.5))
    traffic = Traffic(fleet, chats=3)
    traffic.write()
    return given_up(traffic)


def woken_among_parts(fleet: Fleet) -> Tally:
    """The sleeper wakes while another sends what comes after its own part."""
    fleet.model.script.set(default=Behaviour(delay=0.5))
    slow = fleet.telegram.fault("slow", seconds=0.5)
    traffic = Traffic(fleet, chats=1)
    traffic.write(rounds=1)
    fleet.wait(lambda: fleet.model.stats["in_flight"], "the model to be asked")
    traffic.write(rounds=6, more="x" * 3_000)  # collected into one turn, whose reply is six parts
    traffic.wait_answered(3)
    sleeper = fleet.holder("delivery")
    fleet.stop(sleeper)
    traffic.wait_answered(5)
    sleeper.signal(signal.SIGCONT)
    fleet.wait(lambda: not sleeper.is_stopped(), "the sleeper to wake")
    total = given_up(traffic)
    slow.times = 0
    # One part was under way when it fell asleep; that it was shown again is not the guard's fault.
    return total + Tally(duplicated=max(0, total.repeated - 1))


def woken_with_a_send(fleet: Fleet) -> Tally:
    trap = fleet.trap("worker", "about to send", "stop")
    traffic = Traffic(fleet, chats=1)
    traffic.write()
    sleeper = trap.wait_stopped()
    traffic.write()
    given_up(traffic)
    seen = len(fleet.telegram.messages())
    written = sleeper.written
    sleeper.signal(signal.SIGCONT)
    fleet.wait(
        lambda: sleeper.says("Lost the delivery lane", since=written) or len(fleet.telegram.messages()) > seen,
        "the sleeper to wake",
    )
    return given_up(traffic)


def asleep_in_a_transaction(fleet: Fleet) -> Tally:
    trap = fleet.trap("worker", "turn written, not committed", "stop")
    traffic = Traffic(fleet, chats=3)
    traffic.write()
    trap.wait_stopped()
    traffic.write()
    return given_up(traffic)


def many_sessions(fleet: Fleet) -> Tally:
    traffic = Traffic(fleet, chats=3)
    for number in range(1, 4):
        traffic.write()
        traffic.wait_answered(3 * number)
    return given_up(traffic)


def two_listeners(fleet: Fleet) -> Tally:
    """Polls that end each other count as doubled."""
    fleet.wait(lambda: polling(fleet), "a listener to poll")
    before = fleet.telegram.stats["conflicts"]
    traffic = Traffic(fleet, chats=3)
    for number in range(1, 4):
        traffic.write()
        traffic.wait_answered(3 * number)
        time.sleep(LEASE_SECONDS / 2)
    return given_up(traffic) + Tally(duplicated=fleet.telegram.stats["conflicts"] - before)


def remembering(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=Behaviour(is_brief=True))
    traffic = Remembering(fleet, people=8)
    for number in range(1, 4):
        traffic.remember()
        traffic.wait_answered(number * len(traffic.chats))
    return given_up(traffic)


ALL: list[Guard] = [
    Guard(
        "G1",
        "The sweep rings again for what a dead worker had claimed",
        worker_killed("turn claimed"),
        without=("sweep",),
    ),
    Guard(
        "G1",
        "Updates are acknowledged only after the commit",
        listener_killed("rows written, not committed"),
        without=("acknowledgement after commit",),
    ),
    Guard(
        "G1",
        "An event is one row: the unique key of platform, account and event",
        listener_killed("rows committed"),
        without=("unique event",),
    ),
    Guard("G2", "A lane is leased to one worker at a time", slow_model, without=("lease",)),
    Guard("G2", "A commit asserts the lane's fence", woken_among_parts, without=("fence",)),
    Guard(
        "G2",
        "PostgreSQL ends a transaction that sleeps",
        asleep_in_a_transaction,
        off={"HERMES_DATABASE_STUCK_SECONDS": "0"},
        databases=("postgresql",),
    ),
    Guard(
        "G3",
        "Transcript, reply and inbox commit together",
        worker_killed("turn half written"),
        without=("transaction",),
    ),
    Guard("G4", "A part that may have arrived before says so", worker_killed("sent, not recorded"), without=("mark",)),
    Guard(
        "G4",
        "The lease is looked at again before a request is written",
        woken_with_a_send,
        without=("last look",),
        besides=("heartbeat",),  # it cancels the send of a worker that wakes, if it comes in time
        settings={"HERMES_SEND_TIMEOUT_SECONDS": "20"},
    ),
    Guard("G5", "Two chats never share a session key", many_sessions, without=("keys",)),
    Guard(
        "G5",
        "A call of a memory tool carries whose it is",
        remembering,
        without=("memory context",),
        settings=memory.SETTINGS,
        fleet={"workers": 1, "listeners": 1, "remembers": True},
    ),
    Guard("G8", "One listener polls with a credential", two_listeners, without=("listener lease",)),
]


def faults(tally: Tally) -> int:
    """Everything in a tally that must be 0."""
    return tally.lost + tally.duplicated + tally.out_of_order + tally.crossed
