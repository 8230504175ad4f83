"""Calls of one function that wait at the same moment become one transaction, as many as `DATABASE_BATCH` at a time.

One such transaction is under way per function and process; what is called meanwhile goes together in the next. So a
busy worker shares transactions, and in an idle one nothing waits for company.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError

log = logging.getLogger(__name__)

OUT_OF_REACH = (OperationalError, InterfaceError, InternalError)
"""What a database raises that is away, full, read-only or shutting down; it says nothing about the statement."""


Outcome = tuple[Any, BaseException | None]
"""A result, or what was raised."""
Outcomes = list[Outcome]


class Shareable(ABC):
    """A function for the database of which several calls can share a transaction."""

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """One call, in a transaction of its own."""

    @abstractmethod
    def together(self, calls: Sequence[functools.partial[Any]]) -> list[Any]:
        """The results of several calls, in one transaction: what one of them raises undoes all."""


class Waiting(NamedTuple):
    """Something to be called, and where its result is awaited."""

    call: functools.partial[Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Gathering:
    """The calls of one function that wait in this process.

    `enqueue` has a thread of the database do something, and `visit` does it there, with a connection that works.
    """

    def __init__(
        self,
        function: Shareable,
        *,
        enqueue: Callable[[Callable[[], None]], None],
        visit: Callable[[Callable[[], Outcomes]], Outcomes],
    ) -> None:
        self._function = function
        self._enqueue = enqueue
        self._visit = visit
        self._lock = threading.Lock()
        self._waiting: deque[Waiting] = deque()
        self._is_running = False

    def add(self, waiting: Waiting) -> None:
        with self._lock:
            self._waiting.append(waiting)
            if self._is_running:
                return
            self._is_running = True
        self._enqueue(self._run)

    def _run(self) -> None:
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), settings.DATABASE_BATCH))]
        asked = [waiting for waiting in taken if not waiting.future.cancelled()]
        calls = [waiting.call for waiting in asked]
        outcomes, error = _outcome(functools.partial(self._visit, functools.partial(self._outcomes, calls)))
        for waiting, outcome in zip(asked, outcomes or [(None, error)] * len(asked), strict=True):
            settle(waiting, *outcome)
        with self._lock:
            self._is_running = goes_on = bool(self._waiting)
        if goes_on:
            self._enqueue(self._run)  # behind what else waits for a thread

    def _outcomes(self, calls: list[functools.partial[Any]]) -> Outcomes:
        """The result of each call, or what it raised."""
        if len(calls) > 1:
            try:
                return [(result, None) for result in self._function.together(calls)]
            except Exception as error:
                # Nothing of it was written. Mostly one of them has lost its lane; by itself each gets its own answer.
                log.debug("%d calls of %s could not share a transaction (%r).", len(calls), self._function, error)
        outcomes: Outcomes = []
        for call in calls:
            outcome = _outcome(call)
            outcomes.append(outcome)
            if isinstance(outcome[1], OUT_OF_REACH):  # each further one would wait as long to find the same
                return outcomes + [outcome] * (len(calls) - len(outcomes))
        return outcomes


def _outcome(call: Callable[[], Any]) -> Outcome:
    try:
        return call(), None
    except BaseException as error:
        return None, error


def settle(waiting: Waiting, result: Any, error: BaseException | None) -> None:
    """Gives whoever awaits the call what came of it."""
    with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
        waiting.loop.call_soon_threadsafe(_settle, waiting.future, result, error)


def run(waiting: Waiting) -> None:
    """Does a call by itself."""
    if not waiting.future.cancelled():
        settle(waiting, *_outcome(waiting.call))


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError(f"the function raised {error!r}, which no coroutine may"))
    else:
        future.set_exception(error)
