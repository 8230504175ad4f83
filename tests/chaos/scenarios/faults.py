"""Platforms and models that misbehave, and everything at once: real processes have to bear with it."""

from __future__ import annotations

import itertools
import json
import signal
import time

from tests.chaos.fleet import Fleet
from tests.chaos.scenario import scenario, settled
from tests.chaos.traffic import Tally, Traffic
from tests.peers.model_script import Behaviour, Rule

CHATS = 6


@scenario("Telegram takes three replies and drops the connection", unknown=3)
def dropped_answers(fleet: Fleet) -> Tally:
    fleet.telegram.fault("drop", times=3)
    traffic = Traffic(fleet, chats=CHATS)
    traffic.write()
    total = settled(traffic)
    if (total.repeated, total.unknown) != (3, 3):
        raise AssertionError(f"three replies arrived without an answer, and {total.repeated} were repeated")
    return total


@scenario("Telegram answers 429 and names a time, which the whole fleet keeps")
def flooded(fleet: Fleet) -> Tally:
    impatient = fleet.telegram.stats["impatient"]
    fleet.telegram.fault("flood", times=1, retry_after=2)
    traffic = Traffic(fleet, chats=CHATS)
    traffic.write(rounds=2)
    total = settled(traffic)
    if fleet.telegram.stats["impatient"] - impatient > CHATS:
        raise AssertionError("more was sent in the time than what was under way when it was named")
    return total


@scenario("Telegram answers 403 for ever in one chat, and the others never notice")
def blocked_by_one(fleet: Fleet) -> Tally:
    traffic, blocker = Traffic(fleet, chats=CHATS - 1), Traffic(fleet, chats=1)
    words = "Forbidden: bot was blocked by the user"
    fleet.telegram.fault("error", chat_id=int(blocker.users[0]), status=403, description=words)
    blocker.write()
    traffic.write(rounds=2)
    total = settled(traffic)
    dead = "SELECT error FROM gateway_app_outboundpart WHERE state = 'dead' AND chat_id IN {users}"
    ((error,),) = fleet.wait(lambda: blocker.rows(dead), "a dead letter")
    if words not in error:
        raise AssertionError(f"the dead letter says {error!r}")
    return total


@scenario("Telegram hands updates out twice, and old ones after newer ones")
def repeated_updates(fleet: Fleet) -> Tally:
    traffic = Traffic(fleet, chats=CHATS)
    first = len(fleet.telegram.updates())
    traffic.write(rounds=2)
    traffic.wait_answered(1)
    for update in fleet.telegram.updates(since=first):
        fleet.telegram.repeat(update["update_id"])
    traffic.write()
    return settled(traffic)


@scenario("Updates that cannot be read come between those that can")
def unreadable_updates(fleet: Fleet) -> Tally:
    count = "SELECT count(*) FROM gateway_app_inboundmessage WHERE state = 'rejected'"
    ((before,),) = fleet.database.query(count)
    traffic = Traffic(fleet, chats=CHATS)
    traffic.write()
    chat = {"id": 1, "type": "private"}
    for body in (
        {"message": {"message_id": 1, "date": 1, "chat": chat, "text": "nobody wrote this"}},
        {"message": {"message_id": 1, "date": 1, "from": {"id": 1, "is_bot": False, "first_name": "A"}, "text": "x"}},
        {"message": "not an object"},
        {"message": {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "planet"}, "text": "x"}},
    ):
        fleet.telegram.push(body)
        traffic.write()
    for rest in (
        b', "message": {',
        b', "message": ' + json.dumps({"message_id": 9, "caption": "y" * 2_000_000}).encode(),
    ):
        number = fleet.telegram.push({"poll": {}})  # takes a number, and is never handed out
        fleet.telegram.push(b'{"update_id": %d' % number + rest, number=number)
        traffic.write()
    total = settled(traffic)
    ((after,),) = fleet.database.query(count)
    if after - before != 6:
        raise AssertionError(f"6 updates cannot be read, and {after - before} are recorded as such")
    return total


@scenario("The model fails in every way that passes, and then answers")
def failing_model(fleet: Fleet) -> Tally:
    traffic = Traffic(fleet, chats=CHATS)
    failures = [
        Behaviour(status=500),
        Behaviour(status=429, headers={"Retry-After": "1"}),
        Behaviour(body=b"<html>a proxy</html>", content_type="text/html"),
        Behaviour(cut="drop"),
        Behaviour(cut="end", cut_after=1),
        Behaviour(answer=""),
    ]
    rules = [
        Rule(behaviour=failure, times=1, contains=f"‹{name}.1›")
        for failure, name in zip(failures, traffic.users, strict=True)
    ]
    fleet.model.script.set(rules=rules)
    traffic.write(rounds=2)
    return settled(traffic)


@scenario("Every half second another process is killed, or the broker, while people write", unknown=5 * CHATS)
def storm(fleet: Fleet) -> Tally:
    traffic = Traffic(fleet, chats=CHATS)
    victims = itertools.cycle(["listener-1", "worker-1", "beat-1", "broker", "listener-2", "worker-2"])
    fleet.model.script.set(default=Behaviour(delay=0.2))
    until = time.monotonic() + 10
    while time.monotonic() < until:
        traffic.write()
        victim = next(victims)
        if victim == "broker":
            fleet.kill_broker()
            fleet.start_broker()
        else:
            fleet.processes[victim].signal(signal.SIGKILL)
        time.sleep(0.5)
    return settled(traffic)
