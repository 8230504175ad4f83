"""A real worker process for tests, and what can be seen of it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from celery.result import AsyncResult

from gateway_app.fleet.death import dying_with_parent

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 20.0


def eventually(condition: Callable[[], Any], *, what: str) -> Any:
    """The first true value of `condition()`; AssertionError with `what` if there is none in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(0.02)
    return value


class Worker:
    """`celery worker` with the tests' application on the server at `url`, which also keeps results and records."""

    def __init__(self, url: str, *, pool: str = "custom", concurrency: int = 4, broker: str = "", **env: str) -> None:
        self.records = redis.Redis.from_url(url, decode_responses=True)
        self.client = Celery(broker=broker or url, backend=url, set_as_current=False, fixups=[])
        self.client.conf.broker_transport_options = json.loads(env.get("TRANSPORT_OPTIONS", "{}"))
        self._output = tempfile.NamedTemporaryFile()  # noqa: SIM115
        options = [
            "--pool",
            pool,
            "--concurrency",
            str(concurrency),
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel",
            "WARNING",
        ]
        variables = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        self.records.delete("record:ready")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "gateway_app.worker.tests.app", "worker", *options],
            cwd=ROOT,
            env={
                **variables,
                "CELERY_CUSTOM_WORKER_POOL": "gateway_app.worker.pool:TaskPool",
                "BROKER_URL": broker or url,
                "RECORDS_URL": url,
                "PYTHONUNBUFFERED": "1",
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            preexec_fn=dying_with_parent(),
        )

    def wait_until_ready(self) -> Worker:
        eventually(lambda: self.recorded("ready") or self.process.poll() is not None, what="the worker")
        if self.process.poll() is not None:
            raise AssertionError(f"The worker did not start:\n{self.output()}")
        return self

    def send(self, name: str, *args: Any, options: dict[str, Any] | None = None, **kwargs: Any) -> AsyncResult:
        """Sends a task of the tests' application by its name; `options` are those of `apply_async`."""
        return self.client.send_task(f"gateway_app.worker.tests.app.{name}", args, kwargs, **(options or {}))

    def recorded(self, name: str) -> list[Any]:
        return [json.loads(value) for value in self.records.lrange(f"record:{name}", 0, -1)]

    def wait_for(self, name: str) -> list[Any]:
        return eventually(lambda: self.recorded(name), what=f"the record {name!r}\n{self.output()}")

    def wait_for_signal(self, result: AsyncResult, name: str) -> None:
        eventually(lambda: name in self.signals(result), what=f"the signal {name!r}\n{self.output()}")

    def signals(self, result: AsyncResult) -> list[str]:
        return self.records.lrange(f"signals:{result.id}", 0, -1)

    def unacknowledged(self) -> int:
        """Messages that the worker has taken and the broker still keeps for it."""
        return self.records.hlen("unacked")

    def waiting(self) -> int:
        """Messages in the queue."""
        return self.records.llen("celery")

    def output(self) -> str:
        return Path(self._output.name).read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and returns the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """Leaves nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.records.close()
        self.client.close()
        self._output.close()
