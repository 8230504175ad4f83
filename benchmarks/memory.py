"""`make bench ARGS=memory`: what memory costs a turn, how fast it is written, and many sessions that end at once."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.fleet import Fleet, wait_for_answer
from benchmarks.pipeline import call, measure, ours, percentile
from benchmarks.report import Report, machine

CLOSED = "http://127.0.0.1:1"
"""Nothing listens there: a Honcho that is away."""
SETTLE_SECONDS = 3.0
"""Until every worker has read what was written into honcho.json, with what it did meanwhile."""
KINDS: dict[str, dict[str, Any]] = {
    "off": {},
    "50 ms": {"delay": 0.05},
    "5 s": {"delay": 5.0},
    "away": {},
}
"""Honcho as it is in a run; all answers take `delay` seconds."""
PROMISED = {"50 ms": 5, "5 s": 310, "away": 5}
"""Milliseconds that a turn may take longer than without memory, at the 50th and the 95th percentile."""
CHATS = 10
PACE = 2

MAKE = """
import datetime
from django.utils import timezone
from gateway_app import lanes
from gateway_app.models import Lane, Session, TranscriptMessage, Turn
from gateway_app.models.lane import LaneKind
old = timezone.now() - datetime.timedelta(days=3)
for start in range(0, {count}, 1000):
    keys = [f"agent:main:bench:dm:{{number}}" for number in range(start, min(start + 1000, {count}))]
    Lane.objects.bulk_create(Lane(kind=LaneKind.TURNS, key=key) for key in keys)
    lane_of = dict(Lane.objects.filter(kind=LaneKind.TURNS, key__in=keys).values_list("key", "pk"))
    made = Session.objects.bulk_create(
        Session(session_id=f"bench_{{key[20:]}}", session_key=key, platform="bench", chat_id=key[20:], chat_type="dm",
                user_id=key[20:], started_at=old) for key in keys)
    turns = Turn.objects.bulk_create(
        Turn(session=session, lane_id=lane_of[session.session_key], state="done", started_at=old) for session in made)
    TranscriptMessage.objects.bulk_create(
        TranscriptMessage(session=turn.session, turn=turn, role=role, content="something that was said", created_at=old)
        for turn in turns for role in ("user", "assistant") * 3)
"""
WAITING = """
from honcho_app.models import HonchoWrite
print(HonchoWrite.objects.filter(state="waiting").count())
"""
END = """
import datetime, json, resource, time
import psutil
from django.utils import timezone
from gateway_app.models import MemoryFlush, Session
from gateway_app.sessions import expiry
own = psutil.Process()
before, count, started, after, ticks = own.memory_info().rss, MemoryFlush.objects.count(), time.perf_counter(), "", 0
while after is not None:
    after, ticks = expiry.end_due(after=after), ticks + 1
print(json.dumps({
    "seconds": time.perf_counter() - started, "batches": ticks, "flushes": MemoryFlush.objects.count() - count,
    "more_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6,
    "open": Session.objects.filter(platform="bench", ended_at=None,
                                   started_at__lt=timezone.now() - datetime.timedelta(days=1)).count()}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="worker processes (default: one per core)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind; the median is given (default: 3)")
    parser.add_argument("--seconds", type=float, default=15, help="length of a run (default: 15)")
    parser.add_argument("--backlog", type=int, default=1000, help="turns to be written to Honcho (default: 1000)")
    parser.add_argument("--expiring", type=int, default=10_000, help="sessions that end at once (default: 10000)")
    parser.add_argument("--write", action="store_true", help="write the result to docs/benchmarks.md")
    options = parser.parse_args()
    report = Report("memory", heading="Memory")
    with Fleet(workers=options.workers) as fleet:
        model = fleet.start_peer("model", "-m", "tests.peers.model", "--port", "0", "--keep", "10")
        telegram = fleet.start_peer("telegram", "-m", "benchmarks.telegram_load")
        fleet.start_peer("honcho", "-m", "tests.peers.honcho", "--keep", "10")
        report.say(
            f"{machine()} PostgreSQL, the broker, {options.workers} worker processes, the listener, beat and three"
            " peers share it. The model answers at once."
        )
        set_honcho(fleet, "off")
        fleet.start_gateway(model_url=model, telegram_url=telegram)
        wait_for_answer(f"{telegram}/_/stats")
        missed = turns(fleet, report, options)
        draining(fleet, report, options)
        expiring(fleet, report, options)
    if options.write:
        report.write()
    for what in missed:
        print(f"MISSED: {what}")
    return 1 if missed else 0


def set_honcho(fleet: Fleet, kind: str) -> None:
    """Has the fleet find Honcho as it is in runs of this kind."""
    call(f"{fleet.peers['honcho']}/_/set", {"delay": KINDS[kind].get("delay", 0.0), "worker_is_paused": False})
    address = CLOSED if kind == "away" else fleet.peers["honcho"]
    content = {"baseUrl": address, "enabled": kind != "off"}
    draft = Path(fleet.home) / "honcho.json.draft"
    draft.write_text(json.dumps(content))
    draft.rename(Path(fleet.home) / "honcho.json")


def turns(fleet: Fleet, report: Report, options: argparse.Namespace) -> list[str]:
    """The kinds take turns, so that whatever else the machine does meets all of them."""
    run: dict[str, Any] = {"chats": CHATS, "seconds": options.seconds, "pace": PACE, "again": True}
    measure(fleet, {"chats": CHATS, "seconds": 3})
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind in KINDS:
            set_honcho(fleet, kind)
            time.sleep(SETTLE_SECONDS)
            measure(fleet, {**run, "seconds": CHATS / PACE})  # each chat's next turn has what this one prepares
            found[kind].append(measure(fleet, run))
    report.say(
        "",
        "### What a turn takes longer",
        "",
        f"{CHATS} chats write {PACE} messages a second, from the update to the reply. Memory is recalled for each turn"
        " and each is written down; Honcho takes the time named for every answer, or is away.",
    )
    figures = {
        kind: [
            *[statistics.median(percentile(run["latencies"], share) for run in runs) for share in (0.5, 0.95)],
            statistics.median(ours(run["cpu"]) for run in runs),
        ]
        for kind, runs in found.items()
    }
    rows: list[list[object]] = []
    missed = []
    for kind, (p50, p95, cpu) in figures.items():
        more = [value - base for value, base in zip((p50, p95), figures["off"], strict=False)]
        promised = PROMISED.get(kind)
        if promised is not None and max(more) > promised:
            missed.append(f"with Honcho {kind} a turn takes {max(more):.0f} ms longer, promised are {promised}")
        shown = ["", ""] if promised is None else [f"{value:+.0f}" for value in more]
        rows.append([kind, f"{p50:.0f}", f"{p95:.0f}", *shown, promised or "", f"{cpu:.1f}"])
    head = ["Honcho", "p50 ms", "p95 ms", "more at p50", "more at p95", "promised", "CPU ms a message (without peers)"]
    report.table(head=head, rows=rows)
    return missed


def draining(fleet: Fleet, report: Report, options: argparse.Namespace) -> None:
    """A backlog grows while Honcho is away, and is written when it is back."""
    stats = f"{fleet.peers['honcho']}/_/stats"
    runs = []
    for _ in range(options.rounds):
        set_honcho(fleet, "50 ms")
        call(f"{fleet.peers['honcho']}/_/set", {"delay": 0.0})
        wait_until_drained(fleet)  # what was said before
        set_honcho(fleet, "away")
        time.sleep(SETTLE_SECONDS)
        call(f"{fleet.peers['honcho']}/_/reset", {"now": True})
        each = max(1, options.backlog // 50)
        measure(fleet, {"chats": 50, "seconds": 0.5, "each": each})
        wanted = 50 * each * 2
        set_honcho(fleet, "50 ms")
        call(f"{fleet.peers['honcho']}/_/set", {"delay": 0.0})
        first = last = 0.0
        deadline = time.monotonic() + 300
        while (written := call(stats)["messages"]) < wanted:
            first = first or (time.monotonic() if written else 0.0)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{written} of {wanted} messages were written.")
            time.sleep(0.02)
        last = time.monotonic()
        wait_until_drained(fleet)
        runs.append({"rate": wanted / max(last - first, 0.02), "written": call(stats)["messages"], "wanted": wanted})
    if any(run["written"] != run["wanted"] for run in runs):
        raise AssertionError(f"what was written is not what there was: {runs}")
    report.say(
        "",
        "### Writing down a backlog",
        "",
        f"{runs[0]['wanted']} messages of 50 sessions, said while Honcho was away. From the first to the last that it"
        " has when it is back:",
    )
    report.table(head=["messages/s"], rows=[[f"{statistics.median(run['rate'] for run in runs):.0f}"]])


def wait_until_drained(fleet: Fleet) -> None:
    """Until nothing waits to be written to Honcho."""
    deadline = time.monotonic() + 300
    while int(fleet.in_gateway(WAITING)):
        if time.monotonic() > deadline:
            raise TimeoutError("What waits for Honcho is not written.")


def expiring(fleet: Fleet, report: Report, options: argparse.Namespace) -> None:
    """All in one tick of the clock. Beat's own tick comes every minute and finds what is left of it."""
    set_honcho(fleet, "off")
    fleet.in_gateway(MAKE.format(count=options.expiring))
    fleet.environment["HERMES_SESSION_RESET_MODE"] = "idle"
    found = json.loads(fleet.in_gateway(END).splitlines()[-1])
    if found["open"] or found["flushes"] < options.expiring:
        raise AssertionError(f"not all were ended: {found}")
    report.say(
        "",
        f"### {options.expiring} sessions that end in one tick",
        "",
        "Each is ended, its next one opened, and the flush of its memory enqueued, in a transaction of its own.",
    )
    report.table(
        head=["seconds", "sessions/s", "memory of the process grew by MB"],
        rows=[[f"{found['seconds']:.1f}", f"{options.expiring / found['seconds']:.0f}", f"{found['more_mb']:.0f}"]],
    )


if __name__ == "__main__":
    sys.exit(main())
