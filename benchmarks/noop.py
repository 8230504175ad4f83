"""The yardstick: what this machine's Celery does with tasks that do nothing, on the same broker."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery

TASKS = 4000
app = Celery("noop", broker=os.environ.get("NOOP_BROKER", ""))
app.conf.update(task_ignore_result=True, task_default_queue="noop", worker_prefetch_multiplier=16)
app.conf.broker_transport_options = {"global_keyprefix": "noop:"}


@app.task(name="noop")
def noop(argument: str) -> None:
    """Does nothing, but says when the last one ran."""
    if argument == "last":
        Path(os.environ["NOOP_DONE"]).write_text(str(time.time()))


def measure(*, broker: str, pool: str, concurrency: int) -> tuple[float, float]:
    """Tasks a second: published by one process, then consumed by one stock worker."""
    with tempfile.TemporaryDirectory() as folder:
        done = Path(folder) / "done"
        environment = os.environ | {"NOOP_BROKER": broker, "NOOP_DONE": str(done)}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        app.conf.broker_url = broker
        started = time.perf_counter()
        for number in range(TASKS):
            noop.delay("last" if number == TASKS - 1 else "x" * 200)
        published = TASKS / (time.perf_counter() - started)
        command = [sys.executable, "-m", "celery", "--quiet", "-A", "benchmarks.noop", "worker", "-l", "ERROR"]
        command += ["-P", pool, "-c", str(concurrency), "--without-gossip", "--without-mingle", "--without-heartbeat"]
        worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            first = _first_taken(broker)
            deadline = time.monotonic() + 60
            while not done.exists():
                if time.monotonic() > deadline:
                    raise TimeoutError("The no-op tasks were not done within 60 s.")
                time.sleep(0.02)
            return published, TASKS / (float(done.read_text() or time.time()) - first)
        finally:
            worker.terminate()
            worker.wait(20)


def _first_taken(broker: str) -> float:
    """When the worker took its first task off the queue."""
    import redis

    client = redis.Redis.from_url(broker)
    while client.llen("noop:noop") >= TASKS:
        time.sleep(0.002)
    return time.time()
