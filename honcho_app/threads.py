"""Threads for synchronous calls to another server: a bounded number, which nobody waits for at the process's end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any


class Threads:
    """At most `size` threads, made as they are needed.

    Unlike those of `concurrent.futures`, they do not keep a process from ending while a server does not answer.
    """

    def __init__(self, size: int, *, name: str) -> None:
        self._size = size
        self._name = name
        self._lock = threading.Lock()
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._running = 0
        self._under_way = 0
        """Calls that were handed over and are not over."""

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Has `function` run. Its future may be cancelled until it begins."""
        future: Future[Any] = Future()
        with self._lock:
            self._under_way += 1
            if self._running < min(self._under_way, self._size):
                name = f"{self._name}-{self._running}"
                self._running += 1
                threading.Thread(target=self._work, name=name, daemon=True).start()
            self._queue.put((future, function))
        return future

    def close(self) -> None:
        """Ends the threads after what has been handed over so far."""
        with self._lock:
            for _ in range(self._running):
                self._queue.put(None)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            future, function = item
            if future.set_running_or_notify_cancel():
                try:
                    result = function()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            with self._lock:
                self._under_way -= 1
            del item, future, function
