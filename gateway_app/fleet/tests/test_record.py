from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from django.test import SimpleTestCase

from gateway_app.config import sources
from gateway_app.fleet import record
from gateway_app.fleet.record import RunRecord

IDLE = "import time; print('up', flush=True); time.sleep(60)"


class RecordTest(SimpleTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.path = self.folder / "runtime.json"

    def process(self, *words: str, script: str = IDLE) -> subprocess.Popen[str]:
        """A process whose command line is that of `manage.py` with `words`."""
        program = self.folder / "manage.py"
        program.write_text(script)
        process = subprocess.Popen([sys.executable, str(program), *words], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()

    def record_of(self, process: subprocess.Popen[str], **changes: object) -> RunRecord:
        begun = record.started(process.pid)
        assert begun is not None
        fields = {"pid": process.pid, "started": begun, "kind": "up", "site": "http://x", "environment": {"A": "1"}}
        return RunRecord(**{**fields, **changes})  # type: ignore[arg-type]


class RunningTest(RecordTest):
    def test_the_record_of_a_live_run_is_found(self) -> None:
        written = self.record_of(self.process("up"))
        record.write(self.path, written)
        self.assertEqual(record.running(self.path), written)

    def test_the_record_of_a_killed_run_is_stale_even_before_it_is_reaped(self) -> None:
        process = self.process("up")
        record.write(self.path, self.record_of(process))
        process.kill()
        deadline = time.monotonic() + 10
        while record.running(self.path) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertTrue(Path(f"/proc/{process.pid}").exists(), "it was reaped; the test says nothing")
        self.assertIsNone(record.running(self.path))
        process.wait()
        self.assertIsNone(record.running(self.path))

    def test_another_process_that_got_the_same_number_is_not_the_run(self) -> None:
        process = self.process("up")
        boot, ticks = self.record_of(process).started.rsplit("/", 1)
        for other in (f"{boot}/{int(ticks) - 1}", f"another-boot/{ticks}", ""):
            with self.subTest(started=other):
                record.write(self.path, self.record_of(process, started=other))
                self.assertIsNone(record.running(self.path))

    def test_a_process_with_another_command_is_not_the_run(self) -> None:
        record.write(self.path, self.record_of(self.process("migrate")))
        self.assertIsNone(record.running(self.path))

    def test_a_record_of_another_kind_is_not_a_run(self) -> None:
        record.write(self.path, self.record_of(self.process("up"), kind="bench"))
        self.assertIsNone(record.running(self.path))

    def test_where_the_command_line_cannot_be_read_the_record_is_believed(self) -> None:
        written = self.record_of(self.process("migrate"))
        record.write(self.path, written)
        with mock.patch.object(record, "command_line", return_value=None):
            self.assertEqual(record.running(self.path), written)

    def test_a_broken_record_is_no_record(self) -> None:
        good = vars(self.record_of(self.process("up")))
        for name, value in (("pid", "1"), ("pid", -1), ("pid", None), ("pid", 2**70), ("environment", [])):
            with self.subTest(name=name, value=value):
                self.path.write_text(json.dumps({**good, name: value}))
                self.assertIsNone(record.running(self.path))
        for name in good:
            with self.subTest(missing=name):
                self.path.write_text(json.dumps({key: value for key, value in good.items() if key != name}))
                self.assertIsNone(record.running(self.path))
        for text in (b"", b"{", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 100_000):
            with self.subTest(text=text[:10]):
                self.path.write_bytes(text)
                self.assertIsNone(record.running(self.path))
        self.path.unlink()
        self.assertIsNone(record.running(self.path))
        self.path.mkdir()
        self.assertIsNone(record.running(self.path))


class FileTest(RecordTest):
    def test_only_the_owner_can_read_it_whatever_the_umask(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        record.write(self.path, RunRecord.of_this_process(site="http://x", environment={"REDIS_URL": "secret"}))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_a_write_that_fails_leaves_the_old_record_and_no_draft(self) -> None:
        self.path.write_text("old")
        with self.assertRaises(TypeError):
            record.write(self.path, RunRecord.of_this_process(site="", environment={"A": object()}))  # type: ignore[dict-item]
        self.assertEqual([path.name for path in self.folder.iterdir()], ["runtime.json"])
        self.assertEqual(self.path.read_text(), "old")

    def test_a_process_removes_its_own_record_only(self) -> None:
        record.write(self.path, self.record_of(self.process("up")))
        record.remove(self.path)
        self.assertTrue(self.path.exists())
        record.write(self.path, RunRecord.of_this_process(site="", environment={}))
        record.remove(self.path)
        self.assertFalse(self.path.exists())


class ExclusiveTest(RecordTest):
    def test_one_process_holds_the_lock_until_it_is_killed(self) -> None:
        lock = self.folder / "up.lock"
        script = (
            f"import sys, time; sys.path.insert(0, {str(Path.cwd())!r})\n"
            "import pathlib, subprocess\n"
            "from gateway_app.fleet.record import exclusive\n"
            f"with exclusive(pathlib.Path({str(lock)!r})) as mine:\n"
            "    child = subprocess.Popen(['sleep', '60'])\n"
            "    print(mine, child.pid, flush=True)\n"
            "    time.sleep(60)\n"
        )
        (self.folder / "hold.py").write_text(script)
        holder = subprocess.Popen([sys.executable, str(self.folder / "hold.py")], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end, holder)
        assert holder.stdout is not None
        mine, child = holder.stdout.readline().split()
        self.addCleanup(os.kill, int(child), signal.SIGKILL)
        self.assertEqual(mine, "True")
        with record.exclusive(lock) as held:
            self.assertFalse(held)
        holder.kill()
        holder.wait()
        with record.exclusive(lock) as held:
            self.assertTrue(held, "a child of the killed holder still has the lock")


class JoinTest(RecordTest):
    RECORDED = {
        "REDIS_URL": "redis://:p@127.0.0.1:20001/0",
        "OPENAI_BASE_URL": "http://127.0.0.1:20002/v1",
        "OPENAI_API_KEY": "demo",
        "HERMES_MODEL": "small",
        "HERMES_MODEL_TOOLS": "false",
        "HERMES_DEMONSTRATION_MODEL": "true",
        "HERMES_SYSTEM_PROMPT": "Be small.",
    }

    def joined(self, **variables: str) -> dict[str, str]:
        found = RunRecord.of_this_process(site="", environment=self.RECORDED).joinable(variables)
        return {**variables, **found}

    def test_what_is_not_set_is_taken_over(self) -> None:
        self.assertEqual(self.joined(PATH="/bin"), {"PATH": "/bin", **self.RECORDED})

    def test_what_is_set_wins(self) -> None:
        self.assertEqual(self.joined(REDIS_URL="redis://mine")["REDIS_URL"], "redis://mine")

    def test_a_key_of_ones_own_is_never_sent_to_the_run_s_model(self) -> None:
        self.assertEqual(
            self.joined(OPENAI_API_KEY="sk-mine"),
            {"OPENAI_API_KEY": "sk-mine", "REDIS_URL": self.RECORDED["REDIS_URL"]},
        )

    def test_a_model_server_of_ones_own_gets_none_of_the_run_s_model_settings(self) -> None:
        joined = self.joined(OPENAI_BASE_URL="http://mine/v1")
        self.assertEqual(set(joined), {"OPENAI_BASE_URL", "REDIS_URL"})
        self.assertEqual(joined["OPENAI_BASE_URL"], "http://mine/v1")

    def test_settings_join_a_live_run_and_ignore_a_stale_one(self) -> None:
        process = self.process("up")
        self.path = self.folder / "state" / "runtime.json"
        self.path.parent.mkdir()
        record.write(self.path, self.record_of(process, environment=self.RECORDED))
        self.assertEqual(self.recorded()["REDIS_URL"], self.RECORDED["REDIS_URL"])
        self.end(process)
        self.assertEqual(self.recorded(), {})

    def recorded(self) -> dict[str, str]:
        return dict(sources.read(home=self.folder, environment={"PATH": "/bin"}).recorded)
