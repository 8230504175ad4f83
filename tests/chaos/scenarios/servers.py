"""Beat, the broker and the database: what the fleet leans on goes away, comes back empty, or refuses to write."""

from __future__ import annotations

import time

from tests.chaos.fleet import LEASE_SECONDS, Fleet
from tests.chaos.scenario import scenario, settled
from tests.chaos.traffic import Tally, Traffic
from tests.peers.model_script import Behaviour

SLOW = Behaviour(delay=1.0)


@scenario("Beat is killed while rings are lost; the sweeps of its successor ring again")
def beat_killed(fleet: Fleet) -> Tally:
    fleet.processes.hold("beat-1")
    traffic = waiting_in_the_broker(fleet)
    fleet.empty_broker()
    fleet.resume()
    return settled(traffic)


@scenario("Beat runs twice at once, and a worker is killed", unknown=6)
def two_beats(fleet: Fleet) -> Tally:
    fleet.add("beat", 2)
    try:
        trap = fleet.trap("worker", "turn claimed", skip=2)
        traffic = Traffic(fleet)
        traffic.write(rounds=2)
        trap.wait()
        return settled(traffic)
    finally:
        fleet.processes.remove("beat-2")


@scenario("The broker loses everything (FLUSHALL) while rings wait in it")
def flushed(fleet: Fleet) -> Tally:
    traffic = waiting_in_the_broker(fleet)
    fleet.empty_broker()
    fleet.resume()
    traffic.write()
    return settled(traffic)


@scenario("The broker is killed and comes back empty while rings wait in it")
def restarted_empty(fleet: Fleet) -> Tally:
    traffic = waiting_in_the_broker(fleet)
    fleet.empty_broker()
    fleet.kill_broker()
    fleet.start_broker()
    fleet.resume()
    traffic.write()
    return settled(traffic)


def waiting_in_the_broker(fleet: Fleet) -> Traffic:
    """Traffic that is accepted and rung for while there are no workers."""
    for worker in fleet.processes.of("worker"):
        fleet.processes.hold(worker.name)
    traffic = Traffic(fleet)
    traffic.write(rounds=2)
    fleet.wait(lambda: traffic.tally().accepted == 12 and fleet.has_rings(), "the messages to be rung for")
    return traffic


@scenario("The broker is killed while workers wait for the model, and stays away past their leases")
def killed_while_workers_are_busy(fleet: Fleet) -> Tally:
    """The workers live on, answer what they have, and take new rings once the broker is back."""
    pids = [worker.pid for worker in fleet.processes.of("worker")]
    fleet.model.script.set(default=SLOW)
    traffic = Traffic(fleet)
    traffic.write()
    fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to be asked")
    fleet.kill_broker()
    traffic.wait_answered(6)
    traffic.write()
    time.sleep(LEASE_SECONDS)
    fleet.start_broker()
    total = settled(traffic)
    if pids != [worker.pid for worker in fleet.processes.of("worker")]:
        raise AssertionError("a worker died with the broker")
    return total


@scenario("The broker is not there when the fleet starts")
def broker_down_at_start(fleet: Fleet) -> Tally:
    fleet.pause()
    fleet.kill_broker()
    traffic = Traffic(fleet)
    traffic.write()
    fleet.resume()
    fleet.wait(lambda: traffic.tally().accepted == 6, "the messages to be accepted")
    fleet.start_broker()
    traffic.write()
    return settled(traffic)


@scenario("The database is locked by somebody else for longer than the leases", unknown=6)
def database_locked(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=SLOW)
    traffic = Traffic(fleet)
    traffic.write()
    fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to be asked")
    with fleet.database.locked():
        traffic.write()
        time.sleep(2 * LEASE_SECONDS)
    fleet.model.script.set()
    traffic.write()
    return settled(traffic)


@scenario("The database takes no writes for a while (a full disk, a server that fell back to read-only)")
def database_read_only(fleet: Fleet) -> Tally:
    """Finished turns are kept until they can commit, and updates stay with Telegram."""
    fleet.model.script.set(default=SLOW)
    traffic = Traffic(fleet)
    traffic.write()
    fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to be asked")
    workers, listeners = fleet.hearing("worker"), fleet.hearing("listener")
    with fleet.database.refusing_writes([child.pid for child in fleet.processes.all()]):
        traffic.write()
        workers("could not be recorded")
        listeners("the database takes no updates")
    fleet.model.script.set()
    traffic.write()
    return settled(traffic)


@scenario("The database server crashes and comes back while turns are under way", databases=("postgresql",))
def database_crashed(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=SLOW)
    traffic = Traffic(fleet)
    traffic.write()
    fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to be asked")
    workers = fleet.hearing("worker")
    with fleet.database.crashed():
        traffic.write()
        workers("could not be recorded")
    fleet.model.script.set()
    traffic.write()
    return settled(traffic)


@scenario("The database server is not there when the fleet starts", databases=("postgresql",))
def database_down_at_start(fleet: Fleet) -> Tally:
    fleet.pause()
    listeners = fleet.hearing("listener")
    with fleet.database.crashed():
        traffic = Traffic(fleet)
        traffic.write()
        fleet.resume()
        listeners("the database does not answer")
    traffic.write()
    return settled(traffic)
