"""Workers that are stopped past their lease, so that others finish their work, and then wake."""

from __future__ import annotations

import signal

from tests.chaos.fleet import Fleet
from tests.chaos.scenario import scenario, settled
from tests.chaos.traffic import Tally, Traffic
from tests.peers.model_script import Behaviour

SLOW = Behaviour(delay=1.0)


def woken(fleet: Fleet, traffic: Traffic, sleeper: str, *, lost: str) -> Tally:
    """Has others finish the sleeper's work, wakes it, and holds it to changing nothing."""
    child = fleet.processes[sleeper]
    written = child.written
    settled(traffic)
    before = snapshot(traffic)
    child.signal(signal.SIGCONT)
    fleet.wait(lambda: child.says(lost, since=written), f"{sleeper} to notice that it {lost}")
    total = settled(traffic)
    if (after := snapshot(traffic)) != before:
        raise AssertionError(f"the woken worker changed something:\n{before}\n{after}")
    return total


def snapshot(traffic: Traffic) -> list[object]:
    """Everything that is kept of the traffic's turns."""
    sessions = "(SELECT id FROM gateway_app_session WHERE user_id IN {users})"
    turns = f"(SELECT id FROM gateway_app_turn WHERE session_id IN {sessions})"
    return [
        traffic.rows(
            f"SELECT id, role, content FROM gateway_app_transcriptmessage WHERE session_id IN {sessions} ORDER BY id"
        ),
        traffic.rows("SELECT id, state, turn_id FROM gateway_app_inboundmessage WHERE user_id IN {users} ORDER BY id"),
        traffic.rows(f"SELECT id, state, attempts FROM gateway_app_turn WHERE session_id IN {sessions} ORDER BY id"),
        traffic.rows(
            f"SELECT turn_id, position, kind FROM gateway_app_turnstep WHERE turn_id IN {turns} ORDER BY 1, 2"
        ),
        traffic.rows(
            f"SELECT id, text, state, attempts FROM gateway_app_outboundpart WHERE turn_id IN {turns} ORDER BY id"
        ),
    ]


@scenario("A worker sleeps past its lease while it waits for the model", unknown=3)
def stopped_in_the_model_call(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=SLOW)
    traffic = Traffic(fleet, chats=3)
    traffic.write()
    fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to be asked")
    sleeper = fleet.holder()
    fleet.stop(sleeper)
    fleet.model.script.set()
    traffic.write()
    return woken(fleet, traffic, sleeper.name, lost="Lost the lane")


@scenario("A worker sleeps past its lease with the reply in hand, before its transaction", unknown=3)
def stopped_with_the_reply_in_hand(fleet: Fleet) -> Tally:
    trap = fleet.trap("worker", "reply in hand", "stop")
    traffic = Traffic(fleet, chats=3)
    traffic.write(rounds=2)
    return woken(fleet, traffic, trap.wait_stopped().name, lost="Lost the lane")


@scenario("A worker sleeps past its lease inside the transaction, before its commit", databases=("postgresql",))
def stopped_before_the_commit(fleet: Fleet) -> Tally:
    """Its locks must not hold up the fleet. (On SQLite the one writer of the machine would be asleep.)"""
    trap = fleet.trap("worker", "turn written, not committed", "stop")
    traffic = Traffic(fleet, chats=3)
    traffic.write(rounds=2)
    return woken(fleet, traffic, trap.wait_stopped().name, lost="Lost the lane")


@scenario("A worker sleeps past its lease while Telegram takes its reply", unknown=3)
def stopped_in_the_send(fleet: Fleet) -> Tally:
    slow = fleet.telegram.fault("slow", times=1, seconds=1.0)
    traffic = Traffic(fleet, chats=3)
    traffic.write()
    fleet.wait(lambda: slow.times == 0, "a send to be under way")
    sleeper = fleet.holder("delivery")
    fleet.stop(sleeper)
    traffic.write()
    return woken(fleet, traffic, sleeper.name, lost="Lost the delivery lane")


@scenario("A worker sleeps past its lease when it is about to send", unknown=1)
def stopped_before_the_send(fleet: Fleet) -> Tally:
    """Others send what it was about to send, and more after it; it must not say it then."""
    trap = fleet.trap("worker", "about to send", "stop")
    traffic = Traffic(fleet, chats=1)
    traffic.write()
    sleeper = trap.wait_stopped()
    traffic.write()
    return woken(fleet, traffic, sleeper.name, lost="Lost the delivery lane")
