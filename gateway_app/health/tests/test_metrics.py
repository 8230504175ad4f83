"""/metrics: what it shows, to whom, and what becomes of the counts of processes that are gone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from django.db import OperationalError
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from gateway_app import metric_files, metrics
from gateway_app.health import exposition, record_canary
from gateway_app.health.probe import Probe
from gateway_app.models import Listener
from tests.factories import make_inbound, make_outbound

ROOT = Path(__file__).resolve().parents[3]

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class ExpositionTests(TransactionTestCase):
    def scrape(self) -> Samples:
        response = self.client.get("/metrics")
        self.assertEqual(response.status_code, 200)
        return parsed(response.content.decode())

    def test_gauges_tell_what_the_rows_say(self) -> None:
        make_inbound()
        make_inbound(state="dead")
        make_outbound(state="dead")
        Listener.objects.create(platform="telegram", account='odd "name"\n')
        record_canary()
        samples = self.scrape()
        self.assertEqual(samples["hermes_waiting", (("box", "inbox"),)], 1)
        self.assertEqual(samples["hermes_dead_letters", (("box", "inbox"),)], 1)
        self.assertEqual(samples["hermes_dead_letters", (("box", "outbox"),)], 1)
        self.assertEqual(samples["hermes_database_up", ()], 1)
        self.assertLess(samples["hermes_canary_age_seconds", ()], 10)
        self.assertEqual(samples["hermes_listener_held", (("account", 'odd "name"\n'), ("platform", "telegram"))], 0)

    def test_an_age_of_nothing_is_left_out(self) -> None:
        names = {name for name, _ in self.scrape()}
        self.assertNotIn("hermes_oldest_waiting_seconds", names)
        self.assertNotIn("hermes_canary_age_seconds", names)

    def test_counts_of_this_process_are_shown(self) -> None:
        # An outcome of its own: other processes of the tests count turns that are done into the same folder.
        outcome = f"shown-{uuid.uuid4().hex}"
        metrics.TURNS.labels(outcome=outcome).inc(3)
        metrics.TURNS.labels(outcome=outcome).inc(2)
        self.assertEqual(self.scrape()["hermes_turns_total", (("outcome", outcome),)], 5)

    def test_without_a_database_the_counts_are_still_shown(self) -> None:
        metrics.TURNS.labels(outcome="done").inc()
        broken = Probe("metrics", mock.Mock(side_effect=OperationalError("password=secret")))
        with mock.patch.object(exposition, "_rows", broken):
            response = self.client.get("/metrics")
        samples = parsed(response.content.decode())
        self.assertEqual(samples["hermes_database_up", ()], 0)
        self.assertIn(("hermes_turns_total", (("outcome", "done"),)), samples)
        self.assertNotIn("hermes_waiting", {name for name, _ in samples})
        self.assertNotIn(b"secret", response.content)

    def test_openmetrics_is_spoken_where_it_is_asked_for(self) -> None:
        response = self.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        self.assertIn("openmetrics", response["Content-Type"])
        self.assertTrue(response.content.endswith(b"# EOF\n"))


class AccessTests(SimpleTestCase):
    def setUp(self) -> None:
        self.enterContext(mock.patch.object(exposition, "expose", return_value=(b"shown", "text/plain")))

    def status(self, **request: str) -> int:
        return self.client.get("/metrics", **request).status_code

    def test_without_a_token_only_this_machine_reads(self) -> None:
        self.assertEqual(self.status(REMOTE_ADDR="127.0.0.1"), 200)
        self.assertEqual(self.status(REMOTE_ADDR="::1"), 200)
        self.assertEqual(self.status(REMOTE_ADDR="192.0.2.1"), 403)
        self.assertEqual(self.status(REMOTE_ADDR=""), 403)

    def test_a_proxy_on_this_machine_speaks_for_somebody_else(self) -> None:
        for header in ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA"):
            self.assertEqual(self.status(REMOTE_ADDR="127.0.0.1", **{header: "192.0.2.1"}), 403)

    @override_settings(METRICS_TOKEN="right")
    def test_with_a_token_everybody_needs_it(self) -> None:
        self.assertEqual(self.status(REMOTE_ADDR="192.0.2.1", HTTP_AUTHORIZATION="Bearer right"), 200)
        for wrong in ("", "Bearer", "Bearer wrong", "right", "Basic right", "Bearer rightt", "Bearer ríght"):
            response = self.client.get("/metrics", REMOTE_ADDR="127.0.0.1", HTTP_AUTHORIZATION=wrong)
            self.assertEqual(response.status_code, 401, wrong)
            self.assertEqual(response["WWW-Authenticate"], "Bearer")
            self.assertNotIn(b"right", response.content)


COUNTING = """
import sys
from pathlib import Path
from gateway_app import metric_files
claimed = metric_files.claim(Path(sys.argv[1]))
from prometheus_client import Counter, Gauge, Histogram
Counter("counted", "Counted.", ["kind"]).labels(kind="a").inc(float(sys.argv[2]))
Histogram("timed", "Timed.", buckets=(1, 2)).observe(1.5)
Gauge("level", "Level.", multiprocess_mode="livesum").set(7)
print("claimed" if claimed else "in memory", flush=True)
sys.stdin.read()
"""


FORKING = """
import os, sys
from pathlib import Path
from gateway_app import metric_files
metric_files.claim(Path(sys.argv[1]))
from prometheus_client import Counter
counted = Counter("counted", "Counted.", ["kind"]).labels(kind="a")
counted.inc(1)
child = os.fork()
counted.inc(5 if not child else 0)
if child:
    os.waitpid(child, 0)
"""


@contextmanager
def killed_at(step: str) -> Iterator[None]:
    """A merge in the block dies where it would take this step."""
    target = mock.patch.object(Path, "replace") if step == "replace" else mock.patch.object(metric_files, step)
    with target as method:
        method.side_effect = KeyboardInterrupt
        yield


class MetricFilesTests(SimpleTestCase):
    """Real processes that count into one folder."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    @contextmanager
    def process(self, count: float, *, expect: str = "claimed") -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", COUNTING, str(self.folder), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        try:
            assert process.stdout
            self.assertEqual(process.stdout.readline().strip(), expect)
            yield process
        finally:
            process.kill()
            process.communicate()

    def samples(self) -> Samples:
        registry = CollectorRegistry()
        with metric_files.merged(self.folder):
            MultiProcessCollector(registry, path=str(self.folder))
            return {
                (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in registry.collect()
                for sample in family.samples
            }

    def counted(self) -> float:
        return self.samples()["counted_total", (("kind", "a"),)]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def test_the_counts_of_killed_processes_stay_while_their_files_go(self) -> None:
        for count in (1, 2, 4):
            with self.process(count):
                pass
        self.assertEqual(self.counted(), 7)
        samples = self.samples()
        self.assertEqual(samples["timed_bucket", (("le", "2.0"),)], 3)
        self.assertEqual(samples["timed_sum", ()], 4.5)
        self.assertEqual(self.files(), ["counter_0.db", "folder.lock", "histogram_0.db"])

    def test_a_living_process_keeps_its_files_and_its_gauge(self) -> None:
        with self.process(1):
            pass
        with self.process(2) as alive:
            self.assertEqual(self.counted(), 3)
            self.assertEqual(self.samples()["level", ()], 7)
            self.assertEqual(len([name for name in self.files() if f"_{alive.pid}-" in name]), 3)
        self.assertEqual(self.counted(), 3)
        self.assertNotIn(("level", ()), self.samples())

    def test_merging_again_changes_nothing(self) -> None:
        with self.process(5):
            pass
        self.assertEqual([self.counted() for _ in range(3)], [5, 5, 5])

    def test_a_merge_that_was_killed_counts_nothing_twice(self) -> None:
        # Seen to count 15 with _finish_interrupted() taken out.
        for total, step in ((5, "replace"), (10, "_remove")):
            with self.process(5):
                pass
            with self.subTest(killed_at=step):
                with killed_at(step), self.assertRaises(KeyboardInterrupt):
                    self.counted()
                self.assertEqual(self.counted(), total)

    def test_a_damaged_file_of_a_dead_process_is_dropped(self) -> None:
        with self.process(5):
            pass
        (self.folder / "counter_99-dead.db").write_bytes(b"\xff" * 64)
        (self.folder / "merging.json").write_text("{")
        with self.assertLogs("gateway_app.metric_files", "WARNING"):
            self.assertEqual(self.counted(), 5)
        self.assertNotIn("counter_99-dead.db", self.files())

    def test_a_folder_that_cannot_be_written_to_leaves_the_process_counting_in_memory(self) -> None:
        (self.folder / "file").touch()
        self.folder = self.folder / "file" / "metrics"
        with self.process(1, expect="in memory"):
            pass

    def test_a_forked_child_counts_in_files_of_its_own(self) -> None:
        subprocess.run([sys.executable, "-c", FORKING, str(self.folder)], cwd=ROOT, check=True)
        self.assertEqual(len([name for name in self.files() if name.startswith("counter_")]), 2)
        self.assertEqual(self.counted(), 6)

    def test_a_start_merges_where_nobody_reads_the_metrics(self) -> None:
        for _ in range(metric_files.TIDY_FROM // 3 + 1):  # each leaves three files
            (self.folder / f"counter_{_}-dead.db").touch()
            (self.folder / f"histogram_{_}-dead.db").touch()
            (self.folder / f"gauge_all_{_}-dead.db").touch()
        with self.process(1):
            self.assertLess(len(self.files()), 10)

    def test_the_note_names_what_the_archive_holds(self) -> None:
        with self.process(5):
            pass
        with killed_at("_remove"), self.assertRaises(KeyboardInterrupt):
            self.counted()
        note = json.loads((self.folder / "merging.json").read_text())
        self.assertEqual(note["archive"], "counter_0.db")
        self.assertEqual(note["inode"], (self.folder / "counter_0.db").stat().st_ino)
