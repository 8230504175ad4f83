"""`make bench ARGS=access`: decisions, floods of strangers, how soon a ban holds, and what the limits cost."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from benchmarks.fleet import ROOT, UNREACHED_LIMITS
from benchmarks.report import Report, machine
from hermes_site.isolation import isolate

if TYPE_CHECKING:
    from gateway_app.platforms.base import InboundEvent
    from gateway_app.sessions.source import SessionSource

RULES = (0, 1_000, 100_000)
CACHED_A_SECOND = 20_000
REFUSED_A_SECOND = 1_000
BAN_SECONDS = 2.0
BATCH = 100
"""Telegram's listener accepts as many at once."""
LOOKS_EVERY = 0.002
"""Seconds between two decisions of the process that waits for a ban."""

_people = itertools.count(1_000_000)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.access", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind; the median is given (default: 5)")
    parser.add_argument("--bans", type=int, default=20, help="bans at each number of rules (default: 20)")
    parser.add_argument("--write", action="store_true", help="write the result to docs/benchmarks.md")
    parser.add_argument("--watch", metavar="PERSON", help=argparse.SUPPRESS)  # the other process, see `bans()`
    options = parser.parse_args()
    if options.watch:
        return watch(options.watch)
    with installation():
        report = Report("access", heading="Access")
        report.say(
            f"{machine()} PostgreSQL, Valkey and the measured process share it. Settings are the"
            " defaults: nobody is allowed but by a rule, and the first strangers get pairing codes.",
        )
        missed = decisions(report, options)
        limiter(report, options)
    if options.write:
        report.write()
    for what in missed:
        print(f"MISSED: {what}")
    return 1 if missed else 0


@contextlib.contextmanager
def installation() -> Iterator[None]:
    """PostgreSQL and Valkey of its own, and Django on them, with the log in a file as an operator has it."""
    from tests.postgres import postgres
    from tests.services import ValkeyServer

    isolate()
    with postgres(options=()) as database, ValkeyServer() as broker, tempfile.TemporaryFile("w") as log:
        os.environ.update(DATABASE_URL=database, REDIS_URL=broker.url, DJANGO_SETTINGS_MODULE="hermes_site.settings")
        os.environ.update(UNREACHED_LIMITS, HERMES_LOG_LEVEL="INFO", HERMES_ACCESS_CHECK_SECONDS="1")
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, check=True)
        import django
        from django.db import connections

        django.setup()
        logging.getLogger().handlers = [logging.StreamHandler(log)]
        try:
            yield
        finally:
            connections.close_all()


def decisions(report: Report, options: argparse.Namespace) -> list[str]:
    """Everything about decisions at each number of rules. Returns the floors that were missed."""
    refusals(people=1)  # warms up connections and caches
    missed: list[str] = []
    rates: list[list[object]] = []
    waits: list[list[object]] = []
    for count in RULES:
        grow_rules(count)
        cached = median(options.rounds, lambda: rate(2_000, times=20))
        fresh = median(options.rounds, lambda: rate(20_000, times=1))
        one = median(options.rounds, lambda: refusals(people=1))
        many = median(options.rounds, lambda: refusals(people=20_000))
        rates.append([f"{count:,}", *[f"{number:,.0f}" for number in (cached, fresh, one, many)]])
        times = bans(options.bans)
        waits.append([f"{count:,}", f"{statistics.median(times):.2f}", f"{max(times):.2f}"])
        if cached < CACHED_A_SECOND:
            missed.append(f"{cached:,.0f} cached decisions a second with {count:,} rules")
        if min(one, many) < REFUSED_A_SECOND:
            missed.append(f"{min(one, many):,.0f} refusals a second with {count:,} rules")
        if max(times) > BAN_SECONDS:
            missed.append(f"a ban held after {max(times):.2f} s with {count:,} rules")
    report.say(
        "",
        f"A second, by one process on one core. Wanted: {CACHED_A_SECOND:,} cached decisions, and {REFUSED_A_SECOND:,}"
        f" messages of strangers refused by `inbox.accept()`, which come in batches of {BATCH} as listeners take them:"
        " from one sender, and each from another sender.",
    )
    head = ["rules", "cached decisions", "new decisions", "refused, one sender", "refused, 20,000 senders"]
    report.table(head=head, rows=rates)
    report.say(
        f"From the commit of a ban to the first denial in another process, which decides every {LOOKS_EVERY * 1000:g}"
        f" ms; {options.bans} bans. Promised: {BAN_SECONDS:g} s.",
    )
    report.table(head=["rules", "median s", "longest s"], rows=waits)
    return missed


def median(rounds: int, measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(rounds))


def stranger(number: int) -> SessionSource:
    from gateway_app.sessions.source import ChatType, SessionSource

    return SessionSource(
        platform="telegram", account="bot", chat_id=f"{number}", chat_type=ChatType.DM, user_id=f"{number}",
        user_name=f"Person {number}",
    )  # fmt: skip


def grow_rules(count: int) -> None:
    """Makes it `count` rules: allowances and bans of people who do not write."""
    from django.db import transaction

    from gateway_app.access import audit
    from gateway_app.models import AccessRule
    from gateway_app.models.audit import AuditAction

    there = AccessRule.objects.count()
    if there >= count:
        return
    with transaction.atomic():
        ledger = audit.open_ledger()
        rules = [
            AccessRule(
                effect=("allow", "deny")[number % 2], subject="user", platform="telegram", subject_id=f"{number}",
                version=ledger.version,
            )
            for number in range(there, count)
        ]  # fmt: skip
        AccessRule.objects.bulk_create(rules, batch_size=5_000)
        ledger.write(action=AuditAction.RULE_ADDED, by=audit.SYSTEM, subject=f"{count} rules")


def rate(people: int, *, times: int) -> float:
    """Decisions a second about new people, `times` times each. The first time is measured only where it is the last."""
    from gateway_app.access.gatekeeper import gatekeeper

    sources = [stranger(next(_people)) for _ in range(people)]
    if times > 1:
        for source in sources:
            gatekeeper.decide(source)
    started = time.perf_counter()
    for _ in range(times):
        for source in sources:
            gatekeeper.decide(source)
    return people * times / (time.perf_counter() - started)


def refusals(*, people: int) -> float:
    """Messages of strangers refused a second."""
    from gateway_app import inbox

    count = max(people, 20_000)
    first = next(_people)
    for _ in range(people):
        next(_people)
    batches = [
        events([stranger(first + number % people) for number in range(start, start + BATCH)])
        for start in range(0, count, BATCH)
    ]
    started = time.perf_counter()
    denied = sum(len(inbox.accept(batch).denied) for batch in batches)
    took = time.perf_counter() - started
    assert denied == count, denied
    return count / took


def events(sources: Sequence[SessionSource]) -> list[InboundEvent]:
    from gateway_app.platforms.base import InboundEvent

    return [
        InboundEvent(event_id=f"{next(_people)}", source=source, text="Let me in!", message_id="1")
        for source in sources
    ]  # fmt: skip


def bans(count: int) -> list[float]:
    """Seconds until a ban made here holds in another process; each is lifted again before the next."""
    from gateway_app.access import audit, rules

    person = f"{next(_people)}"
    rules.allow(platform="telegram", subject_id=person, by=audit.SYSTEM)
    command = [sys.executable, "-m", "benchmarks.access", "--watch", person]
    found: list[float] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        try:
            for _ in range(count):
                assert other.stdout.readline().startswith("allowed")
                time.sleep(random.uniform(0, 1))
                ban = rules.deny(platform="telegram", subject_id=person, by=audit.SYSTEM)
                committed = time.monotonic()
                word, at = other.stdout.readline().split()
                assert word == "denied"
                found.append(float(at) - committed)
                rules.remove(rule_id=ban.rule.pk, by=audit.SYSTEM)
        finally:
            other.terminate()
    rules.revoke(platform="telegram", user_id=person, by=audit.SYSTEM)
    return found


def watch(person: str) -> int:
    """Says whenever the decision about a person is another one, and when that was by the machine's own clock."""
    import django

    django.setup()
    from gateway_app.access.gatekeeper import gatekeeper

    source, known = stranger(int(person)), None
    while True:
        is_allowed = gatekeeper.decide(source).is_allowed
        if is_allowed != known:
            known = is_allowed
            print("allowed" if is_allowed else "denied", time.monotonic(), flush=True)
        time.sleep(LOOKS_EVERY)


def limiter(report: Report, options: argparse.Namespace) -> None:
    from django.db import transaction

    from gateway_app.access.limits import Charge, charging

    def in_redis(batch: list[InboundEvent]) -> float:
        started = time.perf_counter()
        with charging(batch) as charge:
            charge.settle()
        return time.perf_counter() - started

    def in_table(batch: list[InboundEvent]) -> float:
        with transaction.atomic():
            started = time.perf_counter()
            Charge(batch).settle()
            return time.perf_counter() - started

    rows: list[list[object]] = []
    for size in (1, 50):
        batches = [events([stranger(number) for number in range(start, start + size)]) for start in range(500)]
        cells: list[object] = [size]
        for work in (in_redis, in_table):
            # The names must outlive the loop's turn only within this expression.
            cells.append(f"{median(options.rounds, lambda: statistics.mean(map(work, batches))) / size * 1e6:.0f}")  # noqa: B023
        rows.append(cells)
    report.say(
        "What the limits add to a message, in microseconds of time, each message from another sender in a chat of"
        " their own; and the same while Redis is away and the table serves.",
    )
    report.table(head=["messages in a batch", "Redis µs", "table µs"], rows=rows)


if __name__ == "__main__":
    sys.exit(main())
