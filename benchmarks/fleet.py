"""The fleet under measurement: every process of it real, on this machine, and what each costs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
WAIT_SECONDS = 60
UNREACHED_LIMITS = {
    f"HERMES_LIMIT_{whose}_{what}": "1000000" for whose in ("SENDER", "CHAT") for what in ("PER_MINUTE", "BURST")
}
"""The crowd writes faster than people may; what the limits cost is measured all the same."""


class Fleet:
    """Starts PostgreSQL and Valkey (unless DATABASE_URL and REDIS_URL name servers), the peers and the gateway."""

    def __init__(self, *, workers: int) -> None:
        self.workers = workers
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.peers: dict[str, str] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Fleet:
        from tests.postgres import postgres
        from tests.services import ValkeyServer

        self._stack.callback(self._stop)
        self.home = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hermes-bench-"))
        database = os.environ.get("DATABASE_URL") or self._stack.enter_context(postgres(options=()))
        broker = os.environ.get("REDIS_URL") or self._stack.enter_context(ValkeyServer()).url
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HERMES_", "OPENAI_"))},
            "HERMES_HOME": self.home,
            "DATABASE_URL": database,
            "REDIS_URL": broker,
            "HERMES_LOG_LEVEL": "ERROR",
            "TELEGRAM_ALLOW_ALL_USERS": "true",
            "WEBCHAT_ALLOW_ALL_USERS": "true",
            **UNREACHED_LIMITS,
            "PYTHONWARNINGS": "ignore",
            "CELERY_CUSTOM_WORKER_POOL": "gateway_app.worker.pool:TaskPool",
        }
        self.environment.pop("CELERY_BROKER_URL", None)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_peer(self, name: str, *command: str) -> str:
        """Starts a peer and returns its URL, the first line that it prints."""
        process = self._start(f"{name} peer", *command)
        assert process.stdout
        self.peers[name] = process.stdout.readline().strip()
        return self.peers[name]

    def start_gateway(self, *, model_url: str, telegram_url: str) -> None:
        self.environment |= {
            "OPENAI_BASE_URL": model_url,
            "TELEGRAM_BASE_URL": telegram_url,
            "TELEGRAM_BOT_TOKEN": "123456:a-token-for-tests",
        }
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=self.environment, check=True)
        self.in_gateway("from gateway_app import schedule; schedule.ensure()")
        celery = ("-m", "celery", "--quiet", "-A", "hermes_site")
        for number in range(1, self.workers + 1):
            options = ("-c", "600", "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR")
            self._start(f"worker {number}", *celery, "worker", "-P", "custom", "-n", f"bench{number}", *options)
        self._start("listener", "manage.py", "listen")
        self._start("beat", *celery, "beat", "-l", "ERROR")

    def start_web(self, *, port: int) -> str:
        """Starts the web process beside the gateway, once it answers; returns its address."""
        self.environment |= {"HERMES_BIND": f"127.0.0.1:{port}"}
        self._start("web", "manage.py", "serve")
        url = f"http://127.0.0.1:{port}"
        wait_for_answer(f"{url}/healthz")
        return url

    def in_gateway(self, code: str) -> str:
        """Runs Python code within the gateway's settings, and returns what it printed."""
        words = [sys.executable, "manage.py", "shell", "-v0", "-c", code]
        done = subprocess.run(words, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True)
        return done.stdout

    def cpu_seconds(self) -> dict[str, float]:
        """CPU that each role has used so far, user and system."""
        used: dict[str, float] = defaultdict(float)
        for role, process in self._roles():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used[role] += times.user + times.system
        return dict(used)

    def memory_mb(self) -> dict[str, float]:
        """Resident memory by role, in MB; for PostgreSQL, whose processes share much, what each has for itself."""
        found: dict[str, float] = defaultdict(float)
        for role, process in self._roles():
            with contextlib.suppress(psutil.Error):
                info = process.memory_full_info() if role == "postgresql" else process.memory_info()
                found[role] += (info.uss if role == "postgresql" else info.rss) / 1e6
        return dict(found)

    def _roles(self) -> Iterator[tuple[str, psutil.Process]]:
        for role, process in self.processes.items():
            yield role, psutil.Process(process.pid)
        # Servers that were running before are told by their names; there, keep the machine free of others.
        ours = psutil.Process().children(recursive=True)
        everything = list(psutil.process_iter())
        for process in everything if "DATABASE_URL" in os.environ else ours:
            if process.name() == "postgres":
                yield "postgresql", process
        for process in everything if "REDIS_URL" in os.environ else ours:
            if process.name().startswith(("valkey-server", "redis-server")):
                yield "broker", process

    def _start(self, role: str, *words: str) -> subprocess.Popen[str]:
        log = (Path(self.home) / f"{role}.log").open("w")
        self.processes[role] = process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=self.environment, text=True, stderr=log,
            stdout=subprocess.PIPE if role.endswith("peer") else log,
        )  # fmt: skip
        return process

    def _stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


def wait_for_answer(url: str) -> None:
    """Waits until `url` answers at all."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2).read()
            return
        time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer within {WAIT_SECONDS} s")
