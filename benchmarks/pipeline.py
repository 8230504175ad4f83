"""`make bench ARGS=pipeline`: a message's whole road under load, every part real and on this machine."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import urllib.request
from typing import Any

from benchmarks import noop
from benchmarks.fleet import Fleet, wait_for_answer
from benchmarks.report import Report, machine

PEERS = ("model peer", "telegram peer")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="worker processes (default: one per core)"
    )
    parser.add_argument("--chats", type=int, nargs="*", default=[1, 50, 500])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each size; the median is given (default: 3)")
    parser.add_argument("--seconds", type=float, default=10, help="length of a run (default: 10)")
    parser.add_argument(
        "--in-flight", type=int, default=1000, help="turns at once against the slow model; 0 leaves it out"
    )
    parser.add_argument("--no-yardstick", action="store_true", help="leave the no-op rate out")
    parser.add_argument("--write", action="store_true", help="write the result to docs/benchmarks.md")
    options = parser.parse_args()
    if os.environ.get("DATABASE_URL", "postgres").startswith("sqlite"):
        parser.error("DATABASE_URL is SQLite; the benchmark is of PostgreSQL.")
    report = Report("pipeline")
    with Fleet(workers=options.workers) as fleet:
        model = fleet.start_peer("model", "-m", "tests.peers.model", "--port", "0", "--keep", "10")
        telegram = fleet.start_peer("telegram", "-m", "benchmarks.telegram_load")
        report.say(
            f"{machine()} PostgreSQL, the broker, {options.workers} worker processes, the listener, beat and both peers"
            " share it. The model answers at once."
        )
        fleet.start_gateway(model_url=model, telegram_url=telegram)
        wait_for_answer(f"{telegram}/_/stats")
        measure(fleet, {"chats": 10, "seconds": 3})  # warms up connections, caches and pools
        throughput(fleet, report, options)
        pace(fleet, report, options)
        if options.in_flight:
            in_flight(fleet, report, chats=options.in_flight)
        if not options.no_yardstick:
            yardstick(fleet, report)
    if options.write:
        report.write()
    return 0


def measure(fleet: Fleet, run: dict[str, Any]) -> dict[str, Any]:
    """One run of the crowd, and what each process used meanwhile."""
    url = f"{fleet.peers['telegram']}/_/run"
    before = fleet.cpu_seconds()
    call(url, run)
    deadline = time.monotonic() + run["seconds"] + 60
    while True:
        time.sleep(0.25)
        found = call(url)
        if found["is_over"] and not found["waiting"]:
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found['waiting']} messages were not answered.")
    after = fleet.cpu_seconds()
    count = max(found["answered"], 1)
    found["cpu"] = {role: (after[role] - before.get(role, 0)) / count * 1000 for role in after}
    found["rate"] = found["answered"] / found["took"] if found["took"] else 0.0
    if found["wrong"]:
        raise AssertionError(f"{found['wrong']} answers were lost, doubled, crossed or out of order.")
    return found


def call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, data=json.dumps(body).encode() if body else None)
    with urllib.request.urlopen(request, timeout=30) as response:
        return dict(json.load(response))


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 if ordered else 0.0


def ours(cpu: dict[str, float]) -> float:
    return sum(value for role, value in cpu.items() if role not in PEERS)


def throughput(fleet: Fleet, report: Report, options: argparse.Namespace) -> None:
    report.say(
        "",
        "## Messages a second",
        "",
        "Each chat writes its next message when it has its answer; every message is a turn of its own.",
    )
    rows: list[list[object]] = []
    costs: list[list[object]] = []
    for chats in options.chats:
        runs = [measure(fleet, {"chats": chats, "seconds": options.seconds}) for _ in range(options.rounds)]
        rows.append(
            [
                chats,
                f"{statistics.median(run['rate'] for run in runs):.0f}",
                *[
                    f"{statistics.median(percentile(run['latencies'], share) for run in runs):.0f}"
                    for share in (0.5, 0.95, 0.99)
                ],
                f"{statistics.median(ours(run['cpu']) for run in runs):.1f}",
            ]
        )
        cpu = {role: statistics.median(run["cpu"][role] for run in runs) for role in runs[0]["cpu"]}
        costs.append([chats, *[f"{cpu[role]:.2f}" for role in sorted(cpu)]])
        roles = sorted(cpu)
        memory = fleet.memory_mb()
        costs[-1].append(", ".join(f"{memory[role]:.0f}" for role in sorted(memory) if role.startswith("worker")))
    head = ["chats", "messages/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms a message (without the peers)"]
    report.table(head=head, rows=rows)
    report.say("CPU in ms a message, by process, and the workers' memory after it:")
    report.table(head=["chats", *roles, "workers' MB"], rows=costs)
    memory = fleet.memory_mb()
    report.say("Memory in MB: " + ", ".join(f"{role} {memory[role]:.0f}" for role in sorted(memory)) + ".")


def pace(fleet: Fleet, report: Report, options: argparse.Namespace) -> None:
    runs = [measure(fleet, {"chats": 10, "seconds": options.seconds, "pace": 2}) for _ in range(options.rounds)]
    report.say("", "## At two messages a second", "", "From the update to the reply:")
    report.table(
        head=["p50 ms", "p95 ms", "p99 ms"],
        rows=[
            [
                f"{statistics.median(percentile(run['latencies'], share) for run in runs):.0f}"
                for share in (0.5, 0.95, 0.99)
            ]
        ],
    )


def in_flight(fleet: Fleet, report: Report, *, chats: int) -> None:
    script = fleet.peers["model"].removesuffix("/v1") + "/_/script"
    stats = fleet.peers["model"].removesuffix("/v1") + "/_/stats"
    measure(fleet, {"chats": chats, "seconds": 0.5, "each": 1})  # they are people who have written before
    call(script, {"default": {"delay": 2}})
    before = call(stats)["calls"]
    run = measure(fleet, {"chats": chats, "seconds": 0.5, "each": 1, "again": True})
    memory = fleet.memory_mb()
    found = call(stats)
    call(script, {"default": {"delay": 0}})
    assert found["calls"] - before == chats
    report.say(
        "",
        f"## {chats} turns in flight",
        "",
        "All chats, which have written before, write at once; the model takes 2 s.",
    )
    report.table(
        head=["answered", "most at once", "p50 s", "p95 s", "p99 s", "CPU ms a message", "workers' MB"],
        rows=[
            [
                run["answered"],
                found["max_in_flight"],
                *[f"{percentile(run['latencies'], share) / 1000:.1f}" for share in (0.5, 0.95, 0.99)],
                f"{ours(run['cpu']):.1f}",
                ", ".join(f"{memory[role]:.0f}" for role in sorted(memory) if role.startswith("worker")),
            ]
        ],
    )


def yardstick(fleet: Fleet, report: Report) -> None:
    report.say(
        "",
        "## Yardstick: Celery alone",
        "",
        f"{noop.TASKS} tasks that do nothing, on the same broker, beside the idle fleet.",
    )
    rows: list[list[object]] = []
    for pool, concurrency in (("solo", 1), ("prefork", 2)):
        published, consumed = noop.measure(broker=fleet.environment["REDIS_URL"], pool=pool, concurrency=concurrency)
        rows.append([f"{pool}, {concurrency}", f"{published:.0f}", f"{consumed:.0f}"])
    report.table(head=["one worker's pool", "published/s", "consumed/s"], rows=rows)


if __name__ == "__main__":
    sys.exit(main())
