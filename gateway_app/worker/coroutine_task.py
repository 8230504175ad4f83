"""Celery tasks written as coroutines.

    @shared_task(base=CoroutineTask, bind=True)
    async def run_turn(self, context): ...

They run on the process's event loop under every pool. Under `-P custom` (gateway_app/worker/pool.py)
hundreds of them share it; the pools of Celery itself wait for each in a thread or process of its own, and so
does an eager call. Time limits, `self.retry`, `self.request`, signals, callbacks and results are Celery's own.
When a limit passes, the coroutine is cancelled at its next `await`; its `finally` blocks run.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery import Celery, _state
from celery.contrib.django.task import DjangoTask
from celery.exceptions import ImproperlyConfigured
from greenlet import getcurrent, greenlet

from gateway_app.worker.loop import event_loop

_traced_by: ContextVar[greenlet] = ContextVar("_traced_by")
"""Where Celery's tracer of the running task waits for its coroutine: a greenlet of its own, or a pool's thread."""


def _tracer() -> greenlet:
    return _traced_by.get(None) or getcurrent()


# Celery keeps the current task and its request on stacks that it tells apart by the current greenlet, which on the
# event loop is the same for all. A coroutine has to see the stacks of the greenlet that traces it.
_state._task_stack.__ident_func__ = _tracer


class CoroutineTask(DjangoTask):  # type: ignore[misc]
    """The base class of tasks whose function is `async def`."""

    abstract = True

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Raises ImproperlyConfigured for a function or an option that a coroutine task cannot have."""
        if not inspect.iscoroutinefunction(cls.run):
            raise ImproperlyConfigured(f"{cls.name} has base=CoroutineTask, so its function must be `async def`.")
        if getattr(cls, "autoretry_for", ()):
            raise ImproperlyConfigured(f"{cls.name} sets autoretry_for; a coroutine task calls self.retry itself.")
        cls.request_stack.__ident_func__ = _tracer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        current = getcurrent()
        if isinstance(current, _Tracer):
            assert current.parent is not None
            return current.parent.switch(self.run(*args, **kwargs))
        hard, soft = self.request.timelimit or (None, None)
        body = limited(self.run(*args, **kwargs), soft=soft or self.soft_time_limit, hard=hard or self.time_limit)
        token = _traced_by.set(current)
        try:
            return event_loop.run(body)
        finally:
            _traced_by.reset(token)


class _Tracer(greenlet):  # type: ignore[misc]
    """Runs Celery's tracer, which is synchronous, up to the task's body and, once that has ended, from there on."""


async def traced(trace: Callable[..., Any], *args: Any, soft: float | None, hard: float | None) -> Any:
    """Awaits a coroutine task inside Celery's own tracer, `trace(*args)`, and returns what the tracer returns.

    The tracer is suspended while the coroutine runs, so that signals, handlers, retries, errors and results
    are exactly Celery's. `soft` and `hard` are the time limits in seconds.
    """
    tracer = _Tracer(trace)
    tracer.gr_context = getcurrent().gr_context
    _traced_by.set(tracer)
    step = tracer.switch(*args)
    while not tracer.dead:
        try:
            value = await limited(step, soft=soft, hard=hard)
        except BaseException as error:
            step = tracer.throw(type(error), error, error.__traceback__)
        else:
            step = tracer.switch(value)
    return step


async def limited(body: Coroutine[Any, Any, Any], *, soft: float | None, hard: float | None) -> Any:
    """Awaits `body` for at most `soft` seconds (then SoftTimeLimitExceeded) and `hard` (TimeLimitExceeded).

    A body that catches the soft limit's cancellation may go on until the hard one.
    """
    if soft is None and hard is None:
        return await body
    try:
        async with asyncio.timeout(hard) as hard_limit, asyncio.timeout(soft) as soft_limit:
            return await body
    except TimeoutError:
        if hard_limit.expired():
            raise TimeLimitExceeded(hard) from None
        if soft_limit.expired():
            raise SoftTimeLimitExceeded(soft) from None
        raise
