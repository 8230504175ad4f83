"""Django's database from coroutines: each call is one synchronous function in a thread of a small pool.

The threads keep their connections. On SQLite there is one thread, since there is one writer; on PostgreSQL
`settings.DATABASE_THREADS`. Used by workers, listeners and the web process alike.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from celery import signals
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from .gathering import OUT_OF_REACH, Gathering, Shareable, Waiting, run

__all__ = ["OUT_OF_REACH", "check_connections", "close_database_threads", "in_database", "record_in_database"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs `function` in a database thread, in a copy of the caller's contextvars, and returns its result.

    One call is one visit: a function that makes several statements one step opens its own transaction.
    Calls of a `Shareable` that wait share a visit, outside of any contextvars. Cancelling the caller does not stop a
    function that has started; its transaction ends as it would have.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    if isinstance(function, Shareable):
        _threads.gathering(function).add(Waiting(functools.partial(function, *args, **kwargs), future, loop))
    else:
        call = functools.partial(contextvars.copy_context().run, _visit, functools.partial(function, *args, **kwargs))
        _threads.put(functools.partial(run, Waiting(call, future, loop)))
    return await future


RECORD_TRIES = 6
"""How often `record_in_database()` tries. What it records has happened and cannot be had again for free."""
RECORD_WAIT_SECONDS = 1.0
"""Before its second try; each further wait is longer by as much, 15 s in all."""


async def record_in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`in_database()` for what has happened and must be known: tries again while the database is out of reach.

    `function` must be safe to repeat where a commit's answer was lost, as everything under a fence is. Raises what
    its last try raised, and at once what is not the database's trouble.
    """
    for failures in range(1, RECORD_TRIES):
        try:
            return await in_database(function, *args, **kwargs)
        except OUT_OF_REACH as error:
            log.warning("%s could not be recorded (%s); trying again.", function.__name__, type(error).__name__)
            await asyncio.sleep(RECORD_WAIT_SECONDS * failures)
    return await in_database(function, *args, **kwargs)


def close_database_threads() -> None:
    """Ends the threads after what they are doing and closes their connections. The next call starts new ones."""
    _threads.close()


def check_connections() -> None:
    """Closes this thread's connections that are broken, expired, or fail a check after being idle for long.

    The next statement opens a new one. Django does this at the start of each web request; tasks have none.
    A transaction that is under way, as around a task that runs eagerly, is left alone.
    """
    now = time.monotonic()
    idle = now - getattr(_visited, "at", now) > settings.DATABASE_CHECK_SECONDS
    _visited.at = now
    for connection in connections.all(initialized_only=True):
        expires = connection.close_at is not None
        if (idle or expires or connection.errors_occurred) and not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


_visited = threading.local()


def _visit(function: Callable[[], T]) -> T:
    check_connections()
    try:
        return function()
    finally:
        check_connections()


Job = Callable[[], None]
"""What a database thread does next; it raises nothing."""


class _Threads:
    """The process's database threads; a forked child starts with none.

    Leaner than an executor, whose own futures, locks and wake-ups cost as much as a short visit.
    """

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._running: list[threading.Thread] = []
        self._gatherings: dict[Shareable, Gathering] = {}

    def gathering(self, function: Shareable) -> Gathering:
        """Where the calls of a function wait for each other."""
        found = self._gatherings.get(function)
        return found or self._gatherings.setdefault(function, Gathering(function, enqueue=self.put, visit=_visit))

    def put(self, job: Job) -> None:
        with self._lock:
            if not self._running:
                size = 1 if connections[DEFAULT_DB_ALIAS].vendor == "sqlite" else settings.DATABASE_THREADS
                for number in range(size):
                    # A daemon, so that a database that does not answer cannot keep a process from ending.
                    thread = threading.Thread(target=_work, args=[self._queue], name=f"database-{number}", daemon=True)
                    thread.start()
                    self._running.append(thread)
            self._queue.put(job)

    def close(self) -> None:
        with self._lock:
            running, queue = self._running, self._queue
            self._running, self._queue = [], SimpleQueue()
            for _ in running:
                queue.put(None)
        for thread in running:
            thread.join()


def _work(queue: SimpleQueue[Job | None]) -> None:
    while (job := queue.get()) is not None:
        job()
        del job
    connections.close_all()


_threads = _Threads()


def _check_before_task(**_: Any) -> None:
    check_connections()


def _close_at_shutdown(**_: Any) -> None:
    close_database_threads()


signals.task_prerun.connect(_check_before_task)
signals.worker_shutdown.connect(_close_at_shutdown)
signals.worker_process_shutdown.connect(_close_at_shutdown)
