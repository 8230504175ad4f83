"""`python -m tests.chaos` (`make chaos`): every scenario on both databases, and docs/chaos.md with what came of them.

Every process is started by its own command and started again by it after each death. It takes about 15 minutes on
two cores; `-k word` runs what has the word in its title, and then nothing is written.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos import report
from tests.chaos.database import ROOT, Database, Postgres, Sqlite, migrated, unique_name
from tests.chaos.fleet import Fleet
from tests.chaos.scenario import ALL, BOTH, Result, Scenario, prove
from tests.chaos.scenarios import without
from tests.postgres import PostgresServer

OPTIONS = ("fsync=off", "full_page_writes=off")
"""The server must survive its own crash, and not the machine's."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--database", choices=[*BOTH, "both"], default="both")
    parser.add_argument("-k", dest="word", default="", help="only what has this word in its title")
    parser.add_argument("--warm", action="store_true", help="fork the processes, as the normal tests do")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results: list[Result] = []
    proofs: list[report.Proof] = []
    failures = 0
    for kind in BOTH if options.database == "both" else [options.database]:
        with empty_database(kind) as database:
            run = Run(database, word=options.word.lower(), is_cold=not options.warm)
            results += run.scenarios()
            proofs += run.guards()
            failures += run.failures
    print(f"{len(results) + len(proofs)} held, {failures} failed", flush=True)
    if not options.word and options.database == "both" and not failures:
        path = ROOT / "docs" / "chaos.md"
        path.write_text(report.page(results, proofs))
        print(f"{path} written", flush=True)
    return 1 if failures else 0


@contextlib.contextmanager
def empty_database(kind: str) -> Iterator[Database]:
    """A database with empty tables, from which each fleet gets a copy."""
    with tempfile.TemporaryDirectory(prefix="hermes-chaos-") as folder, contextlib.ExitStack() as stack:
        environment = {"HERMES_HOME": folder}
        if kind == "sqlite":
            yield migrated(Sqlite(Path(folder) / "empty.sqlite3"), environment=environment)
            return
        server = PostgresServer(options=OPTIONS)
        stack.callback(server.stop)
        yield migrated(Postgres(server.url, server=server), environment=environment)


class Run:
    """The suite on one database."""

    def __init__(self, empty: Database, *, word: str, is_cold: bool) -> None:
        self.failures = 0
        self._empty = empty
        self._word = word
        self._is_cold = is_cold
        self._fleet: Fleet | None = None

    def scenarios(self) -> list[Result]:
        """All in one fleet but those that have their own; one that fails gets the next a new fleet."""
        results = []
        for scenario in ALL:
            if self._empty.vendor not in scenario.databases or self._word not in scenario.title.lower():
                continue
            if result := self._prove(scenario):
                results.append(result)
        self._close()
        return results

    def guards(self) -> list[report.Proof]:
        """Each guard's scenario with it, which must hold, and without it, which must not."""
        proofs = []
        for guard in without.ALL:
            if self._empty.vendor not in guard.databases or self._word not in guard.title.lower():
                continue
            settings = {**guard.settings}
            with self._fleet_of(settings=settings, without=guard.besides, **guard.fleet) as fleet:
                guarded = guard.run(fleet)
            settings |= guard.off
            with self._fleet_of(settings=settings, without=guard.besides + guard.without, **guard.fleet) as fleet:
                bare = guard.run(fleet)
            holds = not without.faults(guarded) and without.faults(bare) > 0
            self.failures += not holds
            print(f"{'held' if holds else 'FAILED'}: {guard.title}: with it {guarded}, without it {bare}", flush=True)
            proofs.append(report.Proof(guard, self._empty.vendor, guarded, bare))
        return proofs

    def _prove(self, scenario: Scenario) -> Result | None:
        started = time.monotonic()
        try:
            if scenario.fleet:
                self._close()
            if self._fleet is None:
                self._fleet = self._fleet_of(**(scenario.fleet or {"webs": 1})).__enter__()
            result = prove(scenario, self._fleet)
            if scenario.fleet:
                self._close()
        except AssertionError as error:
            self.failures += 1
            print(f"FAILED: {scenario.title}: {error}", flush=True)
            self._close()
            return None
        seconds = time.monotonic() - started
        print(f"{self._empty.vendor}, {seconds:.0f} s: {scenario.title}: {result.tally}", flush=True)
        return result

    def _fleet_of(self, **options: object) -> Fleet:
        database = self._empty.copy(unique_name())
        return Fleet(database=database, **{"listeners": 2, "is_cold": self._is_cold, **options})

    def _close(self) -> None:
        if self._fleet:
            self._fleet.close()
            self._fleet.database.drop()
            self._fleet = None
