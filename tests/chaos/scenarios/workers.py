"""Workers that are killed, at every point of a turn's road."""

from __future__ import annotations

import signal

from tests.chaos.fleet import Fleet
from tests.chaos.scenario import scenario, settled
from tests.chaos.traffic import Commanding, Stopping, Tally, Traffic
from tests.peers.model_script import Behaviour

UNDER_WAY = 6
"""Sends that a worker of these tests has under way at most: one for each chat."""
SLOW = Behaviour(delay=1.0)
NEVER = Behaviour(delay=3600.0)
NOTES = "SELECT id FROM gateway_app_memorynote WHERE text = 'deadly'"
ROUNDS = 2
"""Of tool calls, before the model answers."""


def killed_at(fleet: Fleet, point: str, *, skip: int = 0, more: str = "") -> Tally:
    """Kills a worker at `point` while everybody waits for it; they write on meanwhile."""
    trap = fleet.trap("worker", point, skip=skip)
    traffic = Traffic(fleet)
    traffic.write(rounds=2, more=more)
    trap.wait()
    traffic.write(more=more)
    return settled(traffic)


@scenario("A worker is killed after it claimed a turn", unknown=UNDER_WAY)
def killed_after_the_claim(fleet: Fleet) -> Tally:
    return killed_at(fleet, "turn claimed", skip=2)


@scenario("A worker is killed while it waits for the model", unknown=UNDER_WAY)
def killed_in_the_model_call(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=SLOW)
    traffic = Traffic(fleet)
    traffic.write(rounds=2)
    fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to be asked")
    fleet.holder().signal(signal.SIGKILL)
    fleet.model.script.set()
    traffic.write()
    return settled(traffic)


@scenario("A worker is killed after it journaled a step of a turn with a tool", unknown=UNDER_WAY)
def killed_after_a_journaled_step(fleet: Fleet) -> Tally:
    """What the model was paid for once is not asked of it again, though the next worker dies as well."""
    alone, others = Traffic(fleet, chats=1), Traffic(fleet)
    call_tools(fleet)
    trap = fleet.trap("worker", "step journaled", times=2)
    calls = fleet.model.stats["calls"]
    alone.write()
    trap.wait()
    total = settled(alone)
    if (made := fleet.model.stats["calls"] - calls) != ROUNDS + 1:
        raise AssertionError(f"a turn of {ROUNDS + 1} model calls, resumed from its journal, made {made}")
    trap = fleet.trap("worker", "step journaled", skip=3)
    others.write(rounds=2)
    trap.wait()
    return total + settled(others)


@scenario("A worker is killed by the tool that it runs", unknown=UNDER_WAY)
def killed_by_a_tool(fleet: Fleet) -> Tally:
    """A tool that may not be repeated is not run again, and the model is told what is known of it."""
    call = {"name": "memory", "arguments": '{"action": "add", "text": "deadly"}'}
    fleet.model.script.set(default=Behaviour(tool_calls=(call,), rounds=1, answer="echo: {text}"))
    trap = fleet.trap("worker", "tool runs")
    traffic = Traffic(fleet, chats=1)
    calls = fleet.model.stats["calls"]
    traffic.write()
    trap.wait()
    total = settled(traffic)
    last = fleet.model.requests[-1]["body"]["messages"][-1]
    if (
        (made := fleet.model.stats["calls"] - calls) != 2
        or "is unknown" not in str(last)
        or fleet.database.query(NOTES)
    ):
        raise AssertionError(f"the model was called {made} times, and told: {last}")
    return total


def call_tools(fleet: Fleet) -> None:
    """Has the model call a tool in each of the rounds, and then answer."""
    call = {"name": "current_time", "arguments": '{"timezone": "Etc/GMT+{round}"}'}
    fleet.model.script.set(default=Behaviour(tool_calls=(call,), rounds=ROUNDS, answer="echo: {text}"))


@scenario("A worker is killed while it stops a turn, before the end of that turn is a row", unknown=UNDER_WAY)
def killed_in_a_stop(fleet: Fleet) -> Tally:
    """The next one stops the turn too, and does not begin it again. What may be under way is the word on the stop."""
    fleet.model.script.set(default=NEVER)
    traffic = Stopping(fleet)
    traffic.write()
    fleet.wait(lambda: fleet.model.stats["in_flight"] >= len(traffic.chats), "the model to be asked")
    calls = fleet.model.stats["calls"]
    trap = fleet.trap("worker", "reply in hand")
    traffic.stop()
    trap.wait()
    fleet.model.script.set()
    traffic.write()
    total = settled(traffic)
    if (made := fleet.model.stats["calls"] - calls) != len(traffic.chats):
        raise AssertionError(f"{len(traffic.chats)} turns after those that were stopped made {made} model calls")
    return total


@scenario("A worker is killed while it answers a command", unknown=UNDER_WAY)
def killed_in_a_command(fleet: Fleet) -> Tally:
    """The next one runs it again, in its place between the messages, and one answer is seen."""
    trap = fleet.trap("worker", "command answered", skip=1)
    traffic = Commanding(fleet)
    traffic.write()
    traffic.command()
    traffic.write()
    trap.wait()
    traffic.write()
    return settled(traffic)


@scenario("A worker is killed with the reply in hand, before its transaction", unknown=UNDER_WAY)
def killed_with_the_reply_in_hand(fleet: Fleet) -> Tally:
    return killed_at(fleet, "reply in hand", skip=1)


@scenario("A worker is killed inside the transaction, in the middle of it", unknown=UNDER_WAY)
def killed_in_the_transaction(fleet: Fleet) -> Tally:
    return killed_at(fleet, "turn half written", skip=1)


@scenario("A worker is killed inside the transaction, before its commit", unknown=UNDER_WAY)
def killed_before_the_commit(fleet: Fleet) -> Tally:
    return killed_at(fleet, "turn written, not committed", skip=1)


@scenario("A worker is killed after the commit, before the send", unknown=UNDER_WAY)
def killed_after_the_commit(fleet: Fleet) -> Tally:
    return killed_at(fleet, "turn committed", skip=1)


@scenario("A worker is killed when it is about to send", unknown=UNDER_WAY)
def killed_before_the_send(fleet: Fleet) -> Tally:
    return killed_at(fleet, "about to send", skip=1)


@scenario("A worker is killed after Telegram took the reply, before that is recorded", unknown=UNDER_WAY)
def killed_after_the_send(fleet: Fleet) -> Tally:
    """The one that dies is repeated, visibly; others are where their send was under way at that moment."""
    return killed_at(fleet, "sent, not recorded", skip=1)


@scenario("A worker is killed between the parts of a long reply", unknown=UNDER_WAY)
def killed_between_parts(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=Behaviour(delay=0.5))
    traffic = Traffic(fleet, chats=3)
    traffic.write(rounds=1)
    fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to be asked")
    traffic.write(rounds=3, more="x" * 3_000)  # collected into one turn, whose reply is three parts
    trap = fleet.trap("worker", "sent, not recorded", skip=5)
    trap.wait()
    return settled(traffic)


@scenario("A worker is killed in the delivery lane, at the second attempt of a reply", unknown=UNDER_WAY)
def killed_in_a_retry(fleet: Fleet) -> Tally:
    fleet.telegram.fault("error", times=4, status=500)
    return killed_at(fleet, "retry claimed")


@scenario("A worker is killed in a sweep that has looked and not rung yet", unknown=UNDER_WAY)
def killed_in_a_sweep(fleet: Fleet) -> Tally:
    trap = fleet.trap("worker", "turn claimed")  # so that there is something to sweep for
    sweep = fleet.trap("worker", "sweep has looked")
    traffic = Traffic(fleet)
    traffic.write(rounds=2)
    trap.wait()
    sweep.wait()
    traffic.write()
    return settled(traffic)


@scenario("All workers are killed at once, twice in a row", unknown=UNDER_WAY)
def killed_all_together(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=SLOW)
    traffic = Traffic(fleet)
    for _ in range(2):
        traffic.write()
        fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to be asked")
        for worker in fleet.processes.of("worker"):
            worker.signal(signal.SIGKILL)
        fleet.wait(lambda: not fleet.model.stats["in_flight"], "the workers to be gone")
    fleet.model.script.set()
    traffic.write()
    return settled(traffic)


@scenario("All workers are told to stop (SIGTERM), in the middle of turns")
def told_to_stop(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=SLOW)
    traffic = Traffic(fleet)
    traffic.write(rounds=2)
    fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to be asked")
    for worker in fleet.processes.of("worker"):
        worker.signal(signal.SIGTERM)
    traffic.write()
    fleet.model.script.set()
    return settled(traffic)
