"""`make bench ARGS=agent`: what a tool step costs, turns with ten tool calls, and answers streamed to browsers."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.fleet import WAIT_SECONDS, Fleet, wait_for_answer
from benchmarks.pipeline import call, measure, ours, percentile
from benchmarks.report import Report, machine
from tests.services import _free_port

CALLS = 10
ZONE = "Etc/GMT+{round}"
"""Another one in each round: the same call over and over would be taken for a loop."""
PEOPLE = """
import json
from django.contrib.auth.models import User
from django.test import Client
from gateway_app.platforms.webchat import conversations
people = []
for number in range({count}):
    user = User.objects.create(username=f"person{{number}}")
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    people.append({{"cookie": client.cookies["sessionid"].value, "chat": conversations.start(user).chat_id}})
print(json.dumps(people))
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent", description=__doc__)
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="worker processes (default: one per core)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind; the median is given (default: 3)")
    parser.add_argument("--chats", type=int, default=50, help="chats at once with tool calls (default: 50)")
    parser.add_argument("--each", type=int, default=4, help="messages of each of them (default: 4)")
    parser.add_argument("--browsers", type=int, default=200, help="open pages (default: 200)")
    parser.add_argument("--rates", type=float, nargs="*", default=[5, 10, 20, 40], help="tokens a second for each page")
    parser.add_argument("--seconds", type=float, default=10, help="length of a streamed answer (default: 10)")
    parser.add_argument("--write", action="store_true", help="write the result to docs/benchmarks.md")
    options = parser.parse_args()
    report = Report("agent", heading="The agent")
    report.say(
        f"{machine()} PostgreSQL, the broker, {options.workers} worker processes, the peers and the rest share it."
    )
    tools(report, options)
    streaming(report, options)
    if options.write:
        report.write()
    return 0


def tools(report: Report, options: argparse.Namespace) -> None:
    """Turns with ten calls of a tool that costs nothing, beside turns with none."""
    one = {"name": "current_time", "arguments": json.dumps({"timezone": ZONE})}
    at_once = [{"name": "current_time", "arguments": json.dumps({"timezone": f"Etc/GMT+{n}"})} for n in range(CALLS)]
    kinds: dict[str, dict[str, Any]] = {
        "none": {},
        f"{CALLS}, one after the other": {"tool_calls": [one], "rounds": CALLS, "answer": "echo: {text}"},
        f"{CALLS} in one reply": {"tool_calls": at_once, "rounds": 1, "answer": "echo: {text}"},
    }
    alone: dict[str, list[dict[str, Any]]] = {}
    crowd: dict[str, list[dict[str, Any]]] = {}
    with Fleet(workers=options.workers) as fleet:
        model = fleet.start_peer("model", "-m", "tests.peers.model", "--port", "0", "--keep", "10")
        telegram = fleet.start_peer("telegram", "-m", "benchmarks.telegram_load")
        fleet.start_gateway(model_url=model, telegram_url=telegram)
        wait_for_answer(f"{telegram}/_/stats")
        measure(fleet, {"chats": 10, "seconds": 3})  # warms up
        for kind, behaviour in kinds.items():
            call(model.removesuffix("/v1") + "/_/script", {"default": behaviour})
            run = {"chats": options.chats, "seconds": 1, "each": options.each}
            crowd[kind] = [measure(fleet, run) for _ in range(options.rounds)]
            alone[kind] = [measure(fleet, {"chats": 1, "seconds": 1, "each": 10}) for _ in range(options.rounds)]
    report.say(
        "",
        "### Turns with tool calls",
        "",
        f"The model answers at once and calls a tool that costs next to nothing. One chat that writes alone, and"
        f" {options.chats} chats that write their next message when they have an answer, {options.each} each.",
    )
    head = [
        "tool calls of a turn",
        "alone: p50 ms",
        "messages/s",
        "p50 ms",
        "p95 ms",
        "CPU ms a message (without the peers)",
    ]
    report.table(
        head=head,
        rows=[
            [
                kind,
                f"{median(alone[kind], lambda run: percentile(run['latencies'], 0.5)):.0f}",
                f"{median(crowd[kind], lambda run: run['rate']):.0f}",
                *[
                    f"{median(crowd[kind], lambda run, s=share: percentile(run['latencies'], s)):.0f}"
                    for share in (0.5, 0.95)
                ],
                f"{median(crowd[kind], lambda run: ours(run['cpu'])):.1f}",
            ]
            for kind in kinds
        ],
    )
    plain, stepped, _ = (crowd[kind] for kind in kinds)
    roles = sorted(plain[0]["cpu"])
    costs = {
        role: median(stepped, lambda run, r=role: run["cpu"][r]) - median(plain, lambda run, r=role: run["cpu"][r])
        for role in roles
    }
    report.say("CPU of one tool step, which is a call, its result and the model's next reply, in ms by process:")
    total = ours(costs) / CALLS
    report.table(
        head=["all but the peers", *roles], rows=[[f"{total:.2f}", *[f"{costs[role] / CALLS:.2f}" for role in roles]]]
    )


def median(runs: list[dict[str, Any]], of: Any) -> float:
    return statistics.median(of(run) for run in runs)


def streaming(report: Report, options: argparse.Namespace) -> None:
    """All pages show answers that are written at the same time."""
    rows: list[list[object]] = []
    costs: list[list[object]] = []
    with Fleet(workers=options.workers) as fleet:
        model = fleet.start_peer("model", "-m", "benchmarks.browsers", "model")
        telegram = fleet.start_peer("telegram", "-m", "benchmarks.telegram_load")
        fleet.start_gateway(model_url=model, telegram_url=telegram)
        address = fleet.start_web(port=_free_port())
        people = Path(fleet.home) / "people.json"
        people.write_text(fleet.in_gateway(PEOPLE.format(count=options.browsers)))
        crowd = fleet.start_peer("browsers", "-m", "benchmarks.browsers", "crowd", address, str(people))
        for rate in [options.rates[0], *options.rates]:  # the first one warms up
            found = stream(fleet, crowd=crowd, model=model, rate=rate, options=options)
            delays = found["delays"]
            rows.append(
                [
                    f"{rate:g}",
                    f"{options.browsers * rate:.0f}",
                    f"{1000 * len(delays) / max(found['lasted'], 1):.0f}",
                    f"{100 * len(delays) / max(found['sent'], 1):.1f}",
                    *[
                        delays[min(int(len(delays) * share), len(delays) - 1)] if delays else ""
                        for share in (0.5, 0.95, 0.99)
                    ],
                    f"{sum(value for role, value in found['cpu'].items() if not role.endswith('peer')):.2f}",
                ]
            )
            roles = sorted(found["cpu"])
            costs.append([f"{rate:g}", *[f"{found['cpu'][role]:.2f}" for role in roles]])
    report.say(
        "",
        f"### Streaming to {options.browsers} browsers",
        "",
        f"Each has a page of the web chat open and gets an answer of {options.seconds:g} s, all at once. Delays are"
        " from the moment that the model sends a token to that at which the browser has it.",
    )
    report.table(
        head=[
            "tokens/s a page",
            "sent/s in all",
            "shown/s in all",
            "shown live %",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "cores used",
        ],
        rows=rows[1:],
    )
    report.say("Cores used, by process:")
    report.table(head=["tokens/s a page", *roles], rows=costs[1:])


def stream(fleet: Fleet, *, crowd: str, model: str, rate: float, options: argparse.Namespace) -> dict[str, Any]:
    """One answer for every page."""
    script = model.removesuffix("/v1") + "/_/script"
    tokens = int(rate * options.seconds)
    call(script, {"tokens": tokens, "rate": rate})
    call(f"{crowd}/_/run")
    before, started = fleet.cpu_seconds(), time.monotonic()
    call(f"{crowd}/_/run", {"go": True})
    deadline = time.monotonic() + WAIT_SECONDS + 4 * options.seconds
    while True:
        time.sleep(0.5)
        answered = call(f"{crowd}/_/state")["answered"]
        if answered >= options.browsers:
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{answered} of {options.browsers} answers were shown.")
    took, after = time.monotonic() - started, fleet.cpu_seconds()
    sent, found = call(script)["sent"], call(f"{crowd}/_/found")
    if found["tokens"] < 0.98 * sent:
        raise AssertionError(f"{found['tokens']} of {sent} tokens were shown in the end.")
    cpu = {role: (after[role] - before.get(role, 0)) / took for role in after}
    return found | {"sent": sent, "cpu": cpu}


if __name__ == "__main__":
    sys.exit(main())
