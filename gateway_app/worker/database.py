"""Django's database from coroutines: each call is one synchronous function in a thread of a small pool.

The threads keep their connections. On SQLite there is one thread, since there is one writer; on PostgreSQL
`settings.DATABASE_THREADS`. Used by workers, listeners and the web process alike.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, ParamSpec, TypeVar

from celery import signals
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

P = ParamSpec("P")
T = TypeVar("T")


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs `function` in a database thread, in a copy of the caller's contextvars, and returns its result.

    One call is one visit: a function that makes several statements one step opens its own transaction.
    Cancelling the caller does not stop a function that has started; its transaction ends as it would have.
    """
    call = functools.partial(_visit, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads.executor(), contextvars.copy_context().run, call)


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


def _visit(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    check_connections()
    try:
        return function(*args, **kwargs)
    finally:
        check_connections()


class _Threads:
    """The process's database threads; a forked child starts with none."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._size = 1 if connections[DEFAULT_DB_ALIAS].vendor == "sqlite" else settings.DATABASE_THREADS
                self._executor = ThreadPoolExecutor(self._size, thread_name_prefix="database")
            return self._executor

    def close(self) -> None:
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is None:
            return
        together = threading.Barrier(self._size)

        def close_connections() -> None:
            together.wait()  # a thread that waits here cannot take the next thread's part
            connections.close_all()

        wait([executor.submit(close_connections) for _ in range(self._size)])
        executor.shutdown()


_threads = _Threads()


def _check_before_task(**_: Any) -> None:
    check_connections()


def _close_at_shutdown(**_: Any) -> None:
    close_database_threads()


signals.task_prerun.connect(_check_before_task)
signals.worker_shutdown.connect(_close_at_shutdown)
signals.worker_process_shutdown.connect(_close_at_shutdown)
