"""A Celery application of the tests' own, run by real workers: `celery -A gateway_app.worker.tests.app worker`.

Tasks and signals write what happens to them into lists of the broker's server, where a test reads it.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from typing import Any

from django.conf import settings

settings.configure(
    WORKER_THREADS=2,
    CANCEL_GRACE_SECONDS=1.0,
    DATABASE_CHECK_SECONDS=5.0,
    DATABASE_THREADS=2,
    DATABASE_BATCH=16,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)

import redis  # noqa: E402
from celery import Celery, current_task, signals  # noqa: E402
from celery.exceptions import Ignore, Reject  # noqa: E402
from celery.worker.request import Request  # noqa: E402
from kombu.transport.redis import QoS  # noqa: E402

from gateway_app.worker import redis_guard  # noqa: E402
from gateway_app.worker.coroutine_task import CoroutineTask  # noqa: E402
from gateway_app.worker.database import in_database  # noqa: E402
from gateway_app.worker.http import http_session  # noqa: E402

if not os.environ.get("WITHOUT_REDIS_GUARD"):
    signals.worker_init.connect(redis_guard.install)

records = redis.Redis.from_url(os.environ["RECORDS_URL"])
app = Celery(
    "tests",
    broker=os.environ["BROKER_URL"],
    backend=os.environ["RECORDS_URL"],
    fixups=[],
)
app.conf.update(
    worker_prefetch_multiplier=1,
    worker_soft_shutdown_timeout=float(os.environ.get("SOFT_SHUTDOWN") or 0),
    broker_connection_retry_on_startup=True,
    broker_transport_options=json.loads(os.environ.get("TRANSPORT_OPTIONS") or "{}"),
)


def record(name: str, *values: Any) -> None:
    records.rpush(f"record:{name}", json.dumps(values[0] if len(values) == 1 else values))


# --- What happens to every task ------------------------------------------------------------------------------


def _record_signal(name: str) -> None:
    def receiver(sender: Any = None, task_id: str | None = None, request: Any = None, **_: Any) -> None:
        identity = task_id or (request and request.id) or sender.request.id
        records.rpush(f"signals:{identity}", name)

    getattr(signals, f"task_{name}").connect(receiver, weak=False)


for _name in ("prerun", "postrun", "success", "failure", "retry", "revoked"):
    _record_signal(_name)


def _record_thread(method: Any) -> Any:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        record("threads of callbacks", threading.current_thread().name)
        return method(*args, **kwargs)

    return recorded


Request.acknowledge = _record_thread(Request.acknowledge)
QoS.ack = _record_thread(QoS.ack)


@signals.worker_ready.connect
def _ready(**_: Any) -> None:
    record("ready", os.getpid())


# --- Tasks ---------------------------------------------------------------------------------------------------


@app.task(base=CoroutineTask)
async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@app.task(base=CoroutineTask)
async def fail(message: str) -> None:
    await asyncio.sleep(0)
    raise ValueError(message)


@app.task(base=CoroutineTask)
async def exit_process() -> None:
    await asyncio.sleep(0)
    raise SystemExit(3)


@app.task(base=CoroutineTask)
async def cancel_itself() -> None:
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


@app.task(base=CoroutineTask, bind=True, max_retries=2, default_retry_delay=0)
async def succeed_at_third(self: Any, *, times: int) -> int:
    await asyncio.sleep(0)
    if self.request.retries < times:
        raise self.retry(exc=ValueError("not yet"), countdown=0)
    return int(self.request.retries)


@app.task(base=CoroutineTask, bind=True, acks_late=True)
async def ignored(self: Any) -> None:
    await asyncio.sleep(0)
    raise Ignore


@app.task(base=CoroutineTask, bind=True, acks_late=True)
async def rejected(self: Any, *, requeue: bool) -> str:
    await asyncio.sleep(0)
    if self.request.delivery_info["redelivered"]:
        return "redelivered"
    raise Reject("no", requeue=requeue)


class Hooked(CoroutineTask):
    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        record(f"hooks {task_id}", "before_start")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        record(f"hooks {task_id}", "on_success")

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        record(f"hooks {task_id}", "on_failure")

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        record(f"hooks {task_id}", f"after_return {status}")


@app.task(base=Hooked, bind=True)
async def hooked(self: Any, *, fails: bool) -> None:
    record(f"hooks {self.request.id}", "body")
    if fails:
        raise ValueError("hooked")


@app.task(base=CoroutineTask, bind=True)
async def know_yourself(self: Any, number: int, *, pause: float) -> list[Any]:
    """Looks at its own request from everywhere it can, many times, while others do the same."""

    async def look() -> tuple[str, int, str]:
        await asyncio.sleep(pause)
        return self.request.id, self.request.args[0], current_task.request.id

    seen = [await look() for _ in range(3)]
    seen += await asyncio.gather(look(), look())
    seen.append(await in_database(lambda: (self.request.id, self.request.args[0], current_task.request.id)))
    return [seen, threading.current_thread().name]


@app.task(base=CoroutineTask, bind=True)
async def start_child(self: Any) -> str:
    await asyncio.sleep(0)
    return str(whose_child.delay().id)


@app.task(bind=True)
def whose_child(self: Any) -> tuple[str, str]:
    record(f"parent of {self.request.id}", self.request.parent_id)


@app.task(bind=True)
def in_a_thread(self: Any, seconds: float = 0) -> list[str]:
    record(f"started {self.request.id}", True)
    time.sleep(seconds)
    return [self.request.id, threading.current_thread().name]


@app.task(base=CoroutineTask)
async def session_of_loop() -> tuple[int, int]:
    return id(http_session()), http_session().connector.limit


async def _held(task: Any, seconds: float) -> str:
    record(f"started {task.request.id}", time.time())
    try:
        await asyncio.sleep(seconds)
        record(f"ended {task.request.id}", time.time())
    finally:
        await asyncio.sleep(0.05)  # what a cancelled task still has to put in order
        record(f"finally {task.request.id}", True)
    return "slept"


@app.task(base=CoroutineTask, bind=True)
async def hold(self: Any, seconds: float) -> str:
    return await _held(self, seconds)


@app.task(base=CoroutineTask, bind=True, acks_late=True)
async def hold_late(self: Any, seconds: float) -> str:
    return await _held(self, seconds)


@app.task(base=CoroutineTask, bind=True, soft_time_limit=0.2)
async def soft_limited(self: Any) -> str:
    return await _held(self, 30)


@app.task(base=CoroutineTask, bind=True, soft_time_limit=0.1, time_limit=0.4)
async def hard_limited(self: Any) -> str:
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        record(f"soft {self.request.id}", True)
    return await _held(self, 30)


@app.task(base=CoroutineTask, bind=True, soft_time_limit=0.1)
async def heedful(self: Any) -> str:
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        return "ended in time"
    return "never"


@app.task(base=CoroutineTask, bind=True, acks_late=True)
async def stubborn(self: Any) -> None:
    until = time.monotonic() + 60
    record(f"started {self.request.id}", True)
    while time.monotonic() < until:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            record(f"cancelled {self.request.id}", True)


@app.task(base=CoroutineTask, bind=True, acks_late=True)
async def untidy(self: Any) -> None:
    try:
        await _held(self, 60)
    finally:
        raise ValueError("cleaning up failed")


@app.task(base=CoroutineTask, bind=True, acks_late=True)
async def blocking(self: Any) -> None:
    record(f"started {self.request.id}", True)
    time.sleep(60)  # noqa: ASYNC251  # the mistake itself: it stops every other coroutine
