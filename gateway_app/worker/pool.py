"""The worker's task pool: `celery -A hermes_site worker -P custom -c 600`.

Tasks written as coroutines (gateway_app/worker/coroutine_task.py) all run on the process's event loop; other tasks
run in a few threads. `-c` is how many may be under way at once; Celery's own semaphore keeps the rest waiting.

Celery's callbacks acknowledge messages over the consumer's connection, which is not thread-safe. So whatever
happens in other threads is put in a queue that the worker's main thread, which runs kombu's hub, works off.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import Terminated
from celery import signals
from celery.concurrency.base import BasePool, apply_target
from celery.concurrency.prefork import _run_ready_callbacks
from django.conf import settings
from kombu.asynchronous.hub import Hub
from vine import promise

from gateway_app.worker.coroutine_task import CoroutineTask, traced
from gateway_app.worker.loop import event_loop

log = logging.getLogger(__name__)

Callback = Callable[..., Any]

LAZY_SECONDS = 0.01
"""How long the end of a coroutine may wait for others, to be recorded with them. While slots are free nothing waits
for it, and each wake-up of the hub costs as much as a tenth of a task."""
STOP_POLL_SECONDS = 0.02
"""How often a stopping pool looks for what has ended; the hub, which could wake it, no longer runs then."""


@dataclass(slots=True, weakref_slot=True, eq=False, repr=False)
class Job:
    """One message's task, from its start to its end. Celery keeps a weak reference to it, to terminate it."""

    pool: TaskPool
    target: Callable[..., Any]
    args: tuple[Any, ...]
    accepted: Callback
    succeeded: Callback
    failed: Callback
    timed_out: Callback
    soft: float | None
    hard: float | None
    future: Future[None] | None = None
    coroutine: asyncio.Task[None] | None = None
    terminated: int | None = None
    cancelled_at: float | None = None

    def __repr__(self) -> str:
        return f"{self.args[0]}[{self.args[1]}]"

    def terminate(self, number: int) -> None:
        """Cancels the task: Celery calls it for a revoke with `terminate=True` and at a cold shutdown."""
        self.pool.cancel(self, number)


class TaskPool(BasePool):  # type: ignore[misc]
    """Celery's pool contract over one event loop and a few threads."""

    uses_semaphore = True
    signal_safe = False
    body_can_be_buffer = True

    def on_start(self) -> None:
        self._jobs: set[Job] = set()
        self._reports: deque[Callable[[], Any]] = deque()
        self._work_off_reports = promise(self._report_all, ignore_result=True)
        self._hub: Hub | None = None
        self._will_wake = self._is_reporting = False
        self._hubless = threading.RLock()
        self._semaphore: Any = self.options.get("semaphore") or _BlockingSemaphore(self.limit)
        self._stopping = False
        self._tasks = self.app.tasks
        self._loop = event_loop.start()
        self._threads = ThreadPoolExecutor(settings.WORKER_THREADS, thread_name_prefix="task")
        signals.worker_process_init.send(sender=self.options["initargs"][1])

    def did_start_ok(self) -> bool:
        return self._loop.is_running()

    def register_with_event_loop(self, hub: Hub) -> None:
        self._hub = hub

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        callback: Callback,
        accept_callback: Callback,
        error_callback: Callback,
        timeout_callback: Callback,
        timeout: float | None = None,
        soft_timeout: float | None = None,
        waitforslot: bool = False,
        **_: Any,
    ) -> Job | None:
        """Starts a task; `target(*args)` is Celery's tracer, and the first of `args` is the task's name."""
        if self._stopping:
            return None  # unacknowledged, so the broker keeps it for another worker
        if self._hub is not None and not self._is_reporting:
            self._report_all()  # a slot that gets free there may come back here
        if waitforslot:
            self._semaphore.acquire()
        soft = soft_timeout or self.options.get("soft_timeout")
        hard = timeout or self.options.get("timeout")
        job = Job(self, target, args, accept_callback, callback, error_callback, timeout_callback, soft, hard)
        if isinstance(self._tasks.get(args[0]), CoroutineTask):
            accept_callback(os.getpid(), time.monotonic())
            self._jobs.add(job)  # not before: what Celery failed to accept never starts, so it would never end
            self._loop.call_soon_threadsafe(self._start_coroutine, job)
        else:
            self._jobs.add(job)
            job.future = self._threads.submit(self._run_in_thread, job)
        return job

    def cancel(self, job: Job, number: int) -> None:
        """Cancels a coroutine, or a task that still waits for a thread; a thread itself cannot be stopped."""
        job.cancelled_at = job.cancelled_at or time.monotonic()
        if job.future is None:
            self._loop.call_soon_threadsafe(self._cancel_coroutine, job, number)
        elif job.future.cancel():
            self._end(job, job.failed, _failure(Terminated(number)))
        elif not job.future.done():
            log.warning("%s is not a coroutine and cannot be terminated; it runs to its end.", job)

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Nothing: `pid` is this process. Celery also calls `Job.terminate`, which cancels the one task."""

    def flush(self) -> None:
        """Called when the connection is lost, after Celery took all slots for free: the tasks go on."""
        if self._hub is not None:
            self._semaphore.value = max(self.limit - len(self._jobs), 0)

    def grow(self, n: int = 1) -> None:
        """Gives `n` more slots. (The semaphore's own `grow` counts them twice where tasks wait.)"""
        self.limit += n
        self._semaphore.initial_value = self.limit
        for _ in range(n):
            self._semaphore.release()

    def shrink(self, n: int = 1) -> None:
        """Takes `n` slots away; those in use go when their tasks end."""
        self.limit -= n
        self._semaphore.shrink(n)

    # --- On the event loop -------------------------------------------------------------------------------

    def _start_coroutine(self, job: Job) -> None:
        job.coroutine = self._loop.create_task(self._run_coroutine(job))

    async def _run_coroutine(self, job: Job) -> None:
        if job.hard:
            overdue = self._loop.call_later(job.hard + settings.CANCEL_GRACE_SECONDS, self._give_up, job)
        try:
            result = await traced(job.target, *job.args, soft=job.soft, hard=job.hard)
        except BaseException as error:
            end, result = job.failed, _failure(Terminated(job.terminated) if job.terminated else error)
        else:
            end = job.succeeded
            if job.terminated and result[0]:
                end, result = job.failed, _failure(Terminated(job.terminated))
        finally:
            if job.hard:
                overdue.cancel()
        self._report(self._end, job, end, result, lazily=len(self._jobs) < self.limit)

    def _cancel_coroutine(self, job: Job, number: int) -> None:
        if job.coroutine is not None and not job.coroutine.done():
            job.terminated = number
            self._loop.call_soon(job.coroutine.cancel)  # after its first step: else it would not run at all
            self._loop.call_later(settings.CANCEL_GRACE_SECONDS, self._give_up, job)

    def _give_up(self, job: Job) -> None:
        """Ends a cancelled task for Celery though its coroutine goes on, so that it cannot hold a slot for ever."""
        if job.coroutine is None or job.coroutine.done():
            return
        log.error("%s still runs %s s after it was cancelled.", job, settings.CANCEL_GRACE_SECONDS)
        if job.terminated:
            self._report(self._end, job, job.failed, _failure(Terminated(job.terminated)))
        else:
            self._report(self._end, job, partial(job.timed_out, False), job.hard)

    # --- In a thread -------------------------------------------------------------------------------------

    def _run_in_thread(self, job: Job) -> None:
        def end(result: Any) -> None:
            self._report(self._end, job, job.failed if isinstance(result, ExceptionInfo) else job.succeeded, result)

        try:
            apply_target(job.target, job.args, callback=end, accept_callback=partial(self._report, job.accepted))
        except BaseException as error:
            end(_failure(error))

    # --- On the main thread ------------------------------------------------------------------------------

    def _report(self, function: Callback, *args: Any, lazily: bool = False) -> None:
        """Has the main thread call `function(*args)`, in the order of the reports; may be called in any thread.

        `lazily` is for the event loop's thread: the hub is left in peace for a moment, since the next task that
        comes takes the reports along. Where the transport has no hub, the calling thread does it under a lock,
        as in Celery's thread pool.
        """
        self._reports.append(partial(function, *args))
        if self._hub is None:
            with self._hubless:
                self._report_all()
        elif not lazily:
            self._hub.call_soon(self._work_off_reports)
        elif not self._will_wake:
            self._will_wake = True
            self._loop.call_later(LAZY_SECONDS, self._wake_hub)

    def _wake_hub(self) -> None:
        self._will_wake = False
        if self._reports and self._hub is not None:
            self._hub.call_soon(self._work_off_reports)

    def _report_all(self) -> None:
        self._is_reporting = True
        try:
            while self._reports:
                try:
                    self._reports.popleft()()
                except Exception:
                    log.exception("Celery could not take note of a task's start or end.")
        finally:
            self._is_reporting = False

    def _end(self, job: Job, callback: Callback, value: Any) -> None:
        if job not in self._jobs:
            return  # given up before, or its end no longer matters
        self._jobs.remove(job)
        try:
            callback(value)
        finally:
            if len(self._jobs) < self.limit:
                self._semaphore.release()

    # --- Shutdown ----------------------------------------------------------------------------------------

    def on_stop(self) -> None:
        """Waits for what runs; what Celery has cancelled (cold shutdown) gets CANCEL_GRACE_SECONDS to end.

        Tasks that have not started stay with the broker. May be called again by a signal while it waits.
        """
        self._stopping = True
        for job in list(self._jobs):
            if job.future is not None and job.future.cancel():
                self._jobs.discard(job)
        while any(map(self._may_still_end, list(self._jobs))):
            time.sleep(STOP_POLL_SECONDS)
            if self._hub is not None:
                self._keep_connection_alive(self._hub)
                self._report_all()
        self._threads.shutdown(wait=False)

    def _may_still_end(self, job: Job) -> bool:
        """False for a cancelled job that even the event loop had no chance to give up, since something blocks it."""
        return job.cancelled_at is None or time.monotonic() < job.cancelled_at + settings.CANCEL_GRACE_SECONDS + 1

    def on_terminate(self) -> None:
        """Cancels everything without a word to Celery: the messages not yet acknowledged return to the broker."""
        for job in list(self._jobs):
            job.accepted = job.succeeded = job.failed = lambda *_: None
            job.timed_out = lambda *_: None
            self.cancel(job, signal.SIGTERM)
        self.on_stop()
        event_loop.stop()

    def _keep_connection_alive(self, hub: Hub) -> None:
        """Heartbeats and acknowledgements, which the hub no longer sees to."""
        try:
            hub.fire_timers()
            _run_ready_callbacks(hub)
        except Exception as error:
            log.warning("The broker's connection failed while tasks ended: %s", error)

    def _get_info(self) -> dict[str, Any]:
        return {
            **super()._get_info(),
            "processes": [os.getpid()],
            "running": len(self._jobs),
            "threads": settings.WORKER_THREADS,
        }


class _BlockingSemaphore(threading.Semaphore):
    """Stands in for Celery's semaphore where there is no hub: the consumer waits in `acquire` for a free slot."""

    def shrink(self, n: int) -> None:
        for _ in range(n):
            self.acquire(blocking=False)


def _failure(error: BaseException) -> ExceptionInfo:
    try:
        raise error
    except BaseException:
        return ExceptionInfo()
