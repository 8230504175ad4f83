"""Memory tools of many sessions at once, in workers that are killed and let go of what they hold."""

from __future__ import annotations

import itertools
import signal

from tests.chaos.fleet import Fleet
from tests.chaos.memories import Remembering
from tests.chaos.scenario import scenario, settled
from tests.chaos.traffic import Tally
from tests.peers.model_script import Behaviour

PEOPLE = 32
SETTINGS = {
    "HERMES_HONCHO_MANAGERS": "4",  # of 64 sessions, so that a worker always makes or lets go of one
    "HERMES_HONCHO_READ_TIMEOUT_SECONDS": "60",  # however busy the machine is, the calls are to come to something
    "HERMES_HONCHO_WRITE_TIMEOUT_SECONDS": "8",
    "HERMES_HONCHO_WRITE_SETTLE_SECONDS": "1",  # after twice the time limit what a dead worker wrote is looked up
    "HERMES_HONCHO_WRITE_BACKOFF_MAX_SECONDS": "2",
    "HERMES_LANE_LEASE_SECONDS": "8",  # shorter ones end by themselves where so much is under way
    "HERMES_TELEGRAM_REQUIRE_MENTION": "0",
}
FLEET = {"workers": 4, "listeners": 1, "remembers": True, "patience": 300.0, "settings": SETTINGS}
DATABASES = ("postgresql",)
"""Four workers at once are beyond SQLite, which has one writer; the installation on one machine has fewer."""
CALLS = 5_000
DELAY_SECONDS = 0.02
"""That each of Honcho's answers takes, so that many calls are under way at any moment."""
UNKNOWN = 2 * PEOPLE
"""Sends that a worker has under way at most, each time that one is killed: one for each chat."""


def remembering(fleet: Fleet, *, calls: int, kills: int) -> Tally:
    """Everybody writes in all their chats until the agent was to call so many tools. Raises AssertionError where
    memory was not really used, or somebody reached another's."""
    fleet.model.script.set(default=Behaviour(is_brief=True))
    fleet.honcho.delay = DELAY_SECONDS
    traffic = Remembering(fleet, people=PEOPLE)
    workers = itertools.cycle(fleet.processes.of("worker"))
    rounds = -(-calls // traffic.calls_each_round)
    for number in range(rounds):
        traffic.remember()
        traffic.wait_answered(sum(chat.sent for chat in traffic.chats) - len(traffic.chats) // 2)
        if number % max(1, rounds // (kills + 1)) == 0 and kills:
            next(workers).signal(signal.SIGKILL)
            kills -= 1
        if number % 4 == 1:
            traffic.reset(traffic.chats[number % 8 :: 8])
        fleet.honcho.derive()
    total = settled(traffic)
    if crossed := list(itertools.islice(traffic.crossings(), 3)):
        raise AssertionError(f"memory was crossed: {crossed}")
    if (made := traffic.calls_made()) < calls:
        raise AssertionError(f"the model called memory tools {made} times, not {calls}")
    traffic.check_use()
    traffic.check_written()
    return total


@scenario(
    "Memory tools are called 5,000 times at once for 64 sessions of 32 people, while workers are killed",
    unknown=3 * UNKNOWN,
    databases=DATABASES,
    fleet=FLEET,
)
def many_memories(fleet: Fleet) -> Tally:
    return remembering(fleet, calls=CALLS, kills=3)


@scenario(
    "Memory tools of 64 sessions are called at once, and a worker is killed",
    unknown=UNKNOWN,
    databases=DATABASES,
    fleet=FLEET,
)
def some_memories(fleet: Fleet) -> Tally:
    return remembering(fleet, calls=2 * 288, kills=1)
