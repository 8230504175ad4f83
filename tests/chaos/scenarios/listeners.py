"""Listeners that are killed between Telegram and the database, or stopped past their lease. There are two of them."""

from __future__ import annotations

import signal
import time

from tests.chaos.fleet import Fleet
from tests.chaos.processes import Child
from tests.chaos.scenario import scenario, settled
from tests.chaos.traffic import Tally, Traffic

TAKEOVER_SECONDS = 15.0
"""The promise to an operator; with the short lease of these tests it is far less."""


def killed_at(fleet: Fleet, point: str) -> Tally:
    traffic = Traffic(fleet)
    traffic.write()
    traffic.wait_answered(1)
    trap = fleet.trap("listener", point)
    traffic.write(rounds=2)
    trap.wait()
    traffic.write()
    total = settled(traffic)
    if fleet.telegram.stats["confirmed_unseen"]:
        raise AssertionError("an update was acknowledged that nobody was given")
    return total


@scenario("A listener is killed with updates in hand, before it accepts them")
def killed_before_accepting(fleet: Fleet) -> Tally:
    return killed_at(fleet, "updates received")


@scenario("A listener is killed inside the transaction that accepts, before its commit")
def killed_before_the_commit(fleet: Fleet) -> Tally:
    return killed_at(fleet, "rows written, not committed")


@scenario("A listener is killed after that commit, before it rings or acknowledges")
def killed_after_the_commit(fleet: Fleet) -> Tally:
    """Telegram hands the updates out again, and they are known already; the sweep rings."""
    return killed_at(fleet, "rows committed")


@scenario("A listener is killed after it rang, before the poll that acknowledges")
def killed_before_acknowledging(fleet: Fleet) -> Tally:
    return killed_at(fleet, "about to acknowledge")


@scenario("A listener is killed while it polls, and the standby takes over")
def killed_while_polling(fleet: Fleet) -> Tally:
    traffic = Traffic(fleet)
    traffic.write()
    traffic.wait_answered(1)
    active = fleet.wait(lambda: polling(fleet), "a listener to poll")
    fleet.processes.hold(active.name)
    killed_at = time.monotonic()
    traffic.write()
    fleet.wait(lambda: polling(fleet), "the standby to poll")
    if time.monotonic() - killed_at > TAKEOVER_SECONDS:
        raise AssertionError(f"the standby took over {time.monotonic() - killed_at:.1f} s after the listener's death")
    fleet.processes.resume(active.name)
    return settled(traffic)


@scenario("A listener sleeps past its lease with updates in hand, before it accepts them")
def stopped_with_updates(fleet: Fleet) -> Tally:
    """It wakes with updates that the standby has accepted and acknowledged, and writes nothing."""
    trap = fleet.trap("listener", "updates received", "stop")
    traffic = Traffic(fleet)
    traffic.write(rounds=2)
    sleeper = trap.wait_stopped()
    traffic.write()
    settled(traffic)
    written = sleeper.written
    sleeper.signal(signal.SIGCONT)
    fleet.wait(
        lambda: sleeper.says("its lease ended", since=written), f"{sleeper.name} to notice that it lost its lease"
    )
    traffic.write()
    return settled(traffic)


def polling(fleet: Fleet) -> Child | None:
    """The listener that has the lease, where it lives."""
    ((owner,),) = fleet.database.query("SELECT lease_owner FROM gateway_app_listener WHERE platform = 'telegram'")
    pid = int(owner.split(":")[1]) if owner else 0
    return next((child for child in fleet.processes.of("listener") if child.pid == pid), None)
