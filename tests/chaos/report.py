"""docs/chaos.md: what was done to the fleet, and what became of the messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos.scenario import BOTH, Result
from tests.chaos.scenarios.without import Guard
from tests.chaos.traffic import Tally

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
COLUMNS = {
    "sent": "sent", "accepted": "accepted", "answered": "answered", "lost": "lost", "duplicated": "duplicated",
    "out_of_order": "out of order", "crossed": "crossed", "unknown": "unknown outcomes", "repeated": "repeated, marked",
}  # fmt: skip

HEAD = """\
# What is killed, and what becomes of the messages

<!-- Written by `make chaos`. Do not edit. -->

Real processes (two workers, two listeners, a web process, beat), a Valkey broker and the database named, and a model
and a Telegram server that count what they saw. Leases are two seconds long here, and sweeps half a second apart.
In each row people write while something is killed (SIGKILL), stopped past its lease and woken (SIGSTOP, SIGCONT),
emptied, locked or filled up. The tables are counted from what the people were shown.

- *lost*: accepted and never answered. *crossed*: shown to, given to the model for, or asked of Honcho about, somebody
  else.
- *unknown outcomes*: send attempts that were recorded as begun and never as ended, since the worker that made them died
  or slept. Telegram has no idempotency key, so each is made again, and its text begins with ♻️.
- *repeated, marked*: how many of those had arrived after all, so that the person saw the text a second time, marked.
  *duplicated* is a second time without the mark.
"""

GUARDS = """\
## Without its guards

Each promise once more, in a fleet that has the guard and in one from whose processes it was taken out
(`tests/chaos/guards.py`). The numbers are lost, duplicated, out of order and crossed.
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """A guard's scenario with it and without it."""

    guard: Guard
    database: str
    guarded: Tally
    bare: Tally


def page(results: Sequence[Result], proofs: Sequence[Proof]) -> str:
    """The whole page."""
    lines = [HEAD]
    for database in BOTH:
        found = [result for result in results if result.database == database]
        total = sum((result.tally for result in found), Tally())
        lines += [f"## On {NAMES[database]}: {len(found)} scenarios, {total.sent:,} messages, {total.lost} lost", ""]
        lines += table(
            ["scenario", *COLUMNS.values()],
            [[result.scenario.title, *counts(result.tally)] for result in found] + [["**all**", *counts(total)]],
        )
    lines += [GUARDS]
    lines += table(
        ["promise", "guard", "database", "with it", "without it"],
        [
            [proof.guard.promise, proof.guard.title, NAMES[proof.database], brief(proof.guarded), brief(proof.bare)]
            for proof in sorted(proofs, key=lambda proof: proof.guard.promise)
        ],
    )
    return "\n".join(lines).rstrip() + "\n"


def counts(tally: Tally) -> list[str]:
    return [f"{getattr(tally, name):,}" for name in COLUMNS]


def brief(tally: Tally) -> str:
    """What must be 0, in the order of the table's text."""
    return f"{tally.lost}, {tally.duplicated}, {tally.out_of_order}, {tally.crossed}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, numbers to the right."""
    body = list(rows)
    ruler = [
        "---:" if all(row[column].replace(",", "").isdigit() for row in body) else "---" for column in range(len(head))
    ]
    return [line(head), line(ruler), *map(line, body), ""]


def line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
