"""The way to the Honcho server: the SDK's clients of this process, and the threads in which their calls run.

The SDK is synchronous. Its calls run in threads of their own, a bounded number for each kind of work, and end within
the client's time limit whatever the server does. It is imported at the first call, which costs half a second, so that
a process that never calls does not pay for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from celery import signals

from gateway_app.config import live as gateway

from . import configuration
from .breaker import Breaker
from .configuration import HonchoConfig
from .errors import HonchoError, HonchoErrorKind
from .names import checked_id
from .threads import Threads

if TYPE_CHECKING:
    from honcho import Honcho

P = ParamSpec("P")
T = TypeVar("T")


class Pool(StrEnum):
    """Whose threads a call takes: work of one kind never keeps that of another waiting."""

    READING = "reading"
    """Somebody may be waiting for what is read."""
    WRITING = "writing"
    RECALLING = "recalling"
    """What is fetched in the background, for a message that may come; nobody waits for it."""
    REASONING = "reasoning"
    """The server's model thinks, for as long as a minute."""


FAILURES = 5
"""Calls that read in a row without an answer after which the server is left alone; fewer may be chance."""
REST_SECONDS = 5.0
"""For so long."""
AWAY = (HonchoErrorKind.UNAVAILABLE, HonchoErrorKind.TIMEOUT)
REASONING_THREADS = 4
"""Few: where many ask, they wait for the server's model anyway."""


def reading(workspace: str | None = None) -> Honcho:
    """The client for calls that only read, of this process and workspace (the default one, unless it says).

    To be called in the thread that makes the call: the first time it imports the SDK. Raises `HonchoError` where Honcho
    is off.
    """
    return _process.client(workspace, timeout=gateway.config().honcho.read_timeout_seconds)


def writing(workspace: str | None = None) -> Honcho:
    """The client for calls that write, which never repeats one by itself; see `reading()`."""
    return _process.client(workspace, timeout=gateway.config().honcho.write_timeout_seconds)


def recalling(workspace: str | None = None) -> Honcho:
    """The client for what is fetched beside a conversation, which may take longer; see `reading()`."""
    return _process.client(workspace, timeout=gateway.config().recall.timeout_seconds)


async def run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a call that only reads in a thread, and returns its result. Raises `HonchoError`, and nothing else that
    the SDK raises; waits no longer than HERMES_HONCHO_READ_TIMEOUT_SECONDS.
    """
    seconds = gateway.config().honcho.read_timeout_seconds
    return await run_in(Pool.READING, seconds, functools.partial(function, *args, **kwargs))


async def run_writing(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a call that writes, as `run()` does one that reads, within HERMES_HONCHO_WRITE_TIMEOUT_SECONDS."""
    seconds = gateway.config().honcho.write_timeout_seconds
    return await run_in(Pool.WRITING, seconds, functools.partial(function, *args, **kwargs))


async def run_in(pool: Pool, seconds: float, function: Callable[[], T]) -> T:
    """Runs `function` in a thread of `pool` and waits `seconds` for its result. Raises `HonchoError`.

    A call that is given up before a thread was free never begins. One that has begun goes on to the client's own time
    limit, and its outcome is unknown where it writes. Where the server has not answered for a while, calls that read
    are refused at once.
    """
    is_spared = pool is Pool.READING
    if is_spared and not _process.breaker.takes(seconds=REST_SECONDS):
        raise HonchoError(HonchoErrorKind.UNAVAILABLE)
    try:
        found = await _in_thread(pool, seconds, function)
    except HonchoError as error:
        error.is_outcome_unknown &= pool is Pool.WRITING
        if is_spared and error.kind in AWAY:
            _process.breaker.failed(failures=FAILURES, seconds=REST_SECONDS)
        elif is_spared:
            _process.breaker.succeeded()
        raise
    if is_spared:
        _process.breaker.succeeded()
    return found


async def _in_thread(pool: Pool, seconds: float, function: Callable[[], T]) -> T:
    call = _Call(function)
    future = _process.pool(pool).submit(call)
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(future)
    except TimeoutError:
        raise HonchoError(HonchoErrorKind.TIMEOUT, is_outcome_unknown=call.has_begun) from None


def guarded(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Makes a call of the SDK in this thread, for those who have one of their own. Raises `HonchoError`."""
    result: T = _Call(functools.partial(function, *args, **kwargs))()
    return result


def close() -> None:
    """Closes the clients of this process and lets its threads end. The next call makes new ones."""
    _process.close()


class _Call:
    """A call that turns whatever the SDK raises into `HonchoError`."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self.has_begun = False

    def __call__(self) -> Any:
        from . import transport

        self.has_begun = True
        transport.begin()
        try:
            return self._function()
        except HonchoError:
            raise
        except Exception as error:
            known = transport.translated(error)
            if known is None:
                raise
            raise known from None


class _Process:
    """What this process has of clients and threads; a forked child starts with none, since it shares no connection."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._made_for: HonchoConfig | None = None
        self._clients: dict[tuple[str, float], Honcho] = {}
        self._http: Any = None
        self._pools: dict[Pool, Threads] = {}
        self.breaker = Breaker()

    def client(self, workspace: str | None, *, timeout: float) -> Honcho:
        from honcho import Honcho

        from . import transport

        config = configuration.live()
        if not config.is_active:
            raise HonchoError(HonchoErrorKind.UNAVAILABLE)
        key = (checked_id(workspace or config.workspace), timeout)
        with self._lock:
            if self._made_for is not config:
                # Whoever is in the middle of a call keeps the old ones until it is over.
                self._clients, self._http, self._made_for = {}, transport.http_client(), config
                self.breaker = Breaker()
            found = self._clients.get(key)
            if found is None:
                found = self._clients[key] = Honcho(
                    base_url=config.address,
                    # An empty one would have the SDK look into the environment.
                    api_key=config.api_key.get_secret_value() or NO_KEY,
                    workspace_id=key[0],
                    timeout=timeout,
                    max_retries=0,  # it would obey any Retry-After, and repeat what has taken effect
                    http_client=self._http,
                )
            return found

    def pool(self, pool: Pool) -> Threads:
        config = gateway.config()
        sizes = {
            Pool.READING: config.honcho.read_threads,
            Pool.WRITING: config.honcho.write_threads,
            Pool.RECALLING: config.recall.at_once,
            Pool.REASONING: REASONING_THREADS,
        }
        with self._lock:
            if pool not in self._pools:
                self._pools[pool] = Threads(sizes[pool], name=f"honcho-{pool}")
            return self._pools[pool]

    def close(self) -> None:
        with self._lock:
            pools, http = self._pools, self._http
            self._pools, self._http, self._clients, self._made_for = {}, None, {}, None
            self.breaker = Breaker()
        for threads in pools.values():
            threads.close()
        if http is not None:
            with contextlib.suppress(Exception):
                http.close()


NO_KEY = "none"
"""Sent to a server that asks for no key; one that does refuses it."""

_process = _Process()


def _close_at_shutdown(**_: Any) -> None:
    close()


signals.worker_shutdown.connect(_close_at_shutdown)
signals.worker_process_shutdown.connect(_close_at_shutdown)
