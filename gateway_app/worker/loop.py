"""The process's asyncio loop, in a thread of its own: where coroutine tasks run, whichever pool Celery uses."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import uvloop
from celery import signals

T = TypeVar("T")
log = logging.getLogger(__name__)

STOP_SECONDS = 2.0
"""What is still to be closed when a process ends (sockets, above all) gets this long, then is left to the system."""


class EventLoop:
    """An asyncio loop (uvloop) that starts its thread at the first use.

    A process that was forked from one with a running loop starts its own.
    """

    def __init__(self) -> None:
        self.at_stop: list[Callable[[], Awaitable[None]]] = []
        """Called on the loop before it stops, to close what lives on it."""
        self._inherited: list[asyncio.AbstractEventLoop] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._reset)

    def start(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    loop = uvloop.new_event_loop()
                    self._thread = threading.Thread(target=loop.run_forever, name="event-loop", daemon=True)
                    self._thread.start()
                    self._loop = loop
        return self._loop

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Starts `coroutine` on the loop, in a copy of the caller's contextvars. Cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.start())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs `coroutine` on the loop and waits for its result; an exception in the waiting thread cancels it.

        Raises RuntimeError on the loop's own thread, which would wait for itself for ever.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(f"{coroutine!r} was called synchronously on the event loop; await it there.")
        future = self.submit(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancels what still runs, closes what lives on the loop, and ends its thread. The next use starts anew."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._finish(), loop)
        thread.join(STOP_SECONDS)
        if thread.is_alive():
            log.error("The event loop did not stop within %s s; something blocks it.", STOP_SECONDS)
        else:
            loop.close()
        self._reset()

    async def _finish(self) -> None:
        loop = asyncio.get_running_loop()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=STOP_SECONDS / 2)
        for close in self.at_stop:
            try:
                await close()
            except Exception:
                log.exception("%s failed while the event loop stopped.", getattr(close, "__qualname__", close))
        loop.stop()

    def _reset(self) -> None:
        if self._loop is not None and self._loop.is_running():
            self._inherited.append(self._loop)  # uvloop objects to the end of a running loop's object
        self._lock = threading.Lock()
        self._loop = self._thread = None


event_loop = EventLoop()


def _stop_event_loop(**_: Any) -> None:
    event_loop.stop()


signals.worker_shutdown.connect(_stop_event_loop)
signals.worker_process_shutdown.connect(_stop_event_loop)
