from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.test import TransactionTestCase, override_settings

from tests.dear import dear
from tests.processes import ROOT, child_environment

READY = "Hermes is ready"
NO_MODEL = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}


class Run:
    """A `manage.py up` of a test, with what it printed so far."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def until(self, holds: Callable[[], object], *, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"It did not come about. The output:\n{self.output}")
            time.sleep(0.02)

    def until_ready(self) -> None:
        self.until(lambda: READY in self.output or self.process.poll() is not None)
        if READY not in self.output:
            raise AssertionError(f"It ended with {self.process.returncode}. The output:\n{self.output}")

    def wait(self, *, seconds: float = 60) -> int:
        code = self.process.wait(seconds)
        self._reader.join()
        return code

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class UpTestCase(TransactionTestCase):
    def setUp(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.environment = child_environment(
            self, HERMES_BIND=f"127.0.0.1:{self.port}", HERMES_WORKERS="1", HERMES_LOG_LEVEL="INFO", **NO_MODEL
        )
        del self.environment["REDIS_URL"]
        self.state = Path(self.environment["HERMES_HOME"]) / "state"

    def start(self, **variables: str) -> Run:
        run = Run({**self.environment, **variables})
        self.addCleanup(run.kill)
        return run

    def command(self, *words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment if environment is None else environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def record(self) -> dict[str, str]:
        environment = json.loads((self.state / "runtime.json").read_text())["environment"]
        assert isinstance(environment, dict)
        return environment


# A class for each, so that they can run side by side.


@dear
class FirstStartTest(UpTestCase):
    def test_the_first_start_tells_what_one_needs_and_ctrl_c_ends_it_all(self) -> None:
        run = self.start()
        run.until_ready()

        with self.subTest("the credentials that are shown work"):
            run.until(lambda: bool(re.search(r"Password +\S+\n", run.output)))  # it follows the word that all is ready
            link = re.search(r"Sign in +(\S+)", run.output)
            password = re.search(r"Password +(\S+)", run.output)
            assert link and password
            with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"]):
                self.assertTrue(authenticate(HttpRequest(), username="admin", password=password[1]))
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with browser.open(link[1]) as page:
                self.assertEqual(page.status, 200)
                self.assertTrue(page.url.startswith(f"http://127.0.0.1:{self.port}/chat/"), page.url)
                self.assertIn('"isAllowed": true', page.read().decode())

        with self.subTest("secrets are the owner's alone"):
            self.assertEqual(self.state.stat().st_mode & 0o777, 0o700)
            self.assertEqual((self.state / "runtime.json").stat().st_mode & 0o777, 0o600)
            secret = self.record()["REDIS_URL"].split("@")[0].rpartition(":")[2]
            self.assertNotIn(secret, run.output)
            self.assertNotIn(secret, str([child.cmdline() for child in run.children()]))

        with self.subTest("a second start says where the first is and changes nothing"):
            before = (self.state / "runtime.json").read_bytes()
            second = self.command("up")
            self.assertEqual((second.returncode, second.stderr), (3, ""))
            self.assertIn("already running", second.stdout)
            self.assertRegex(second.stdout, rf"Process +{run.process.pid}\n.*http://127.0.0.1:{self.port}/\n")
            self.assertEqual((self.state / "runtime.json").read_bytes(), before)
            self.assertEqual(self.command("up", "--status").returncode, 0)

        children = run.children()
        words = ("serve", "listen", "worker", "beat")
        self.assertEqual([sum(word in child.cmdline() for child in children) for word in words], [1] * 4, run.output)
        run.process.send_signal(signal.SIGINT)
        self.assertEqual(run.wait(), 0, run.output)
        self.assertFalse([child for child in children if child.is_running()])
        self.assertNotIn("killed", run.output)
        self.assertNotIn("started again", run.output)
        self.assertTrue(run.output.endswith("Stopped.\n"))
        self.assertEqual(self.command("up", "--status").returncode, 3)


@dear
class RestartTest(UpTestCase):
    def test_of_two_starts_one_wins_and_a_killed_one_leaves_nothing_in_the_way(self) -> None:
        runs = [self.start(), self.start()]
        runs[0].until(lambda: any(run.process.poll() is not None for run in runs))
        loser, winner = sorted(runs, key=lambda run: run.process.poll() is None)
        self.assertEqual(loser.wait(), 3, loser.output)
        self.assertIn(str(winner.process.pid), loser.output)
        winner.until_ready()

        with self.subTest("what dies is started again"):
            for role in ("valkey-server", "worker"):
                before = len(winner.children())
                [victim] = [child for child in winner.children() if role in " ".join(child.cmdline())]
                victim.kill()
                winner.until(lambda: not victim.is_running())  # noqa: B023
                winner.until(lambda: len(winner.children()) == before)  # noqa: B023
            self.assertEqual(winner.output.count("ended by signal 9"), 2)

        children = winner.children()
        broker = self.record()["REDIS_URL"]
        winner.process.kill()
        winner.wait()
        winner.until(lambda: not any(child.is_running() for child in children))

        self.assertTrue((self.state / "runtime.json").exists(), "there is no stale record; the test says nothing")
        again = self.start()
        again.until_ready()
        self.assertEqual(self.record()["REDIS_URL"], broker)
        self.assertNotIn("Password", again.output)
        again.process.terminate()
        self.assertEqual(again.wait(), 0, again.output)


class RefusalTest(UpTestCase):
    def test_a_taken_port_is_an_error_that_names_the_setting(self) -> None:
        with socket.create_server(("127.0.0.1", self.port)):
            done = self.command("up")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(f"HERMES_BIND is 127.0.0.1:{self.port}, but another process listens there", done.stderr)
        self.assertFalse((self.state / "runtime.json").exists())

    def test_a_database_that_cannot_be_reached_is_an_error_without_its_password(self) -> None:
        done = self.command("up", environment={**self.environment, "DATABASE_URL": "postgres://u:geheim@127.0.0.1:1/x"})
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("DATABASE_URL: the database cannot be used", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertNotIn("geheim", done.stdout + done.stderr)
        self.assertFalse((self.state / "runtime.json").exists())


@dear
class DemonstrationTest(UpTestCase):
    def test_without_a_model_the_demonstration_model_answers_in_a_second_terminal(self) -> None:
        run = self.start(OPENAI_BASE_URL="")
        run.until_ready()
        self.assertIn("DEMONSTRATION model", run.output)
        terminal = {"PATH": os.environ["PATH"], "HERMES_HOME": self.environment["HERMES_HOME"]}
        terminal["CLI_ALLOW_ALL_USERS"] = "true"
        said = self.command("chat", "What is the capital of France?", environment=terminal)
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertTrue(said.stdout.strip())
        run.process.terminate()
        self.assertEqual(run.wait(), 0, run.output)
