"""The web chat while its processes die. People post until they are told 202, and their pages follow events."""

from __future__ import annotations

import signal

from tests.chaos.browser import WebTraffic
from tests.chaos.fleet import Fleet
from tests.chaos.scenario import scenario, settled
from tests.chaos.traffic import Tally
from tests.peers.model_script import Behaviour

STREAMED = Behaviour(piece_delay=0.1, piece_chars=2)


def finished(traffic: WebTraffic) -> Tally:
    total = settled(traffic)
    if rewritten := sum(browser.rewritten for browser in traffic.browsers.values()):
        raise AssertionError(f"{rewritten} answers were shown again with another text")
    return total


def posted_through(fleet: Fleet, point: str) -> Tally:
    with WebTraffic(fleet) as traffic:
        traffic.write()
        trap = fleet.trap("web", point)
        traffic.write(rounds=2)  # returns when every post was answered with 202
        trap.wait()
        if not any(browser.retries for browser in traffic.browsers.values()):
            raise AssertionError("nobody noticed that the web process died")
        return finished(traffic)


@scenario("The web process is killed in a post, inside the transaction that accepts")
def killed_in_a_post(fleet: Fleet) -> Tally:
    return posted_through(fleet, "rows written, not committed")


@scenario("The web process is killed in a post, after the commit, before it answers")
def killed_before_answering_a_post(fleet: Fleet) -> Tally:
    """The browser posts again under the same id, which is known already."""
    return posted_through(fleet, "rows committed")


@scenario("The web process is killed while it streams answers to open pages")
def killed_while_streaming(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=STREAMED)
    with WebTraffic(fleet) as traffic:
        traffic.write()
        fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to write")
        fleet.processes["web-1"].signal(signal.SIGKILL)
        traffic.write()
        total = finished(traffic)
        if any(browser.connections < 2 for browser in traffic.browsers.values()):
            raise AssertionError("a page kept its events although the web process died")
        return total


@scenario("A worker is killed while pages show live what it writes", unknown=3)
def worker_killed_while_streaming(fleet: Fleet) -> Tally:
    fleet.model.script.set(default=STREAMED)
    with WebTraffic(fleet) as traffic:
        traffic.write()
        fleet.wait(lambda: fleet.model.stats["in_flight"] >= 3, "the model to write")
        fleet.holder().signal(signal.SIGKILL)
        traffic.write()
        return finished(traffic)


@scenario("The broker is killed and stays away while people write in the web chat")
def broker_away(fleet: Fleet) -> Tally:
    with WebTraffic(fleet) as traffic:
        traffic.write()
        fleet.kill_broker()
        traffic.write()
        fleet.start_broker()
        return finished(traffic)
