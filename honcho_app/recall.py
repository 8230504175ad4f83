"""Puts what Honcho remembers beside a person's message.

It is fetched after each turn for the next one, in the background, and kept as a row (`recall_cache`), so that whichever
worker has the next turn finds it. A turn waits only where there is nothing, or only something old: for a moment, and
not at all while Honcho fails. What it then gets is part of the request to the model and of nothing else: not of the
transcript, not of what is written to Honcho. It is journaled with the first reply that leads on to another, so that a
worker that takes the turn over asks the model with the same words.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Coroutine, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from django.db import Error as DatabaseError

from gateway_app import metrics
from gateway_app.config import live
from gateway_app.models.turn import StepKind
from gateway_app.sessions.source import SessionContext
from gateway_app.turns.journal import Step
from gateway_app.worker.database import in_database

from . import client, configuration, fences, generations, names, recall_cache
from .breaker import Breaker
from .client import Pool
from .configuration import HonchoConfig
from .errors import HonchoError
from .recall_cache import Attempt, Place
from .recall_fetch import remembered
from .recall_text import worded
from .small_talk import is_small_talk

if TYPE_CHECKING:
    from gateway_app.turns.opening import OpenTurn

log = logging.getLogger(__name__)

SPARE_SECONDS = 5.0
"""A fetch's lease beyond the longest that it may take: for the database, on both sides of it."""
LOOK_SECONDS = 0.1
"""Between two looks at the row while a worker elsewhere fetches."""
FENCE_TOKENS = 100
"""What the fence around memory costs beside it."""


class Recalled(StrEnum):
    """What became of a message's memory."""

    FRESH = "fresh"
    """It had been fetched before."""
    FETCHED = "fetched"
    """The message waited for it."""
    OLD = "old"
    """There was only what had been fetched long before."""
    MISSING = "missing"
    """There was nothing in time."""
    SKIPPED = "skipped"
    """The message asked for nothing, or is not a session's first and only those get memory."""


class Fetched(StrEnum):
    """What a fetch came to."""

    DONE = "done"
    FAILED = "failed"
    AWAY = "away"
    """Honcho failed a moment ago; it was not asked."""
    BUSY = "busy"
    """Another one is under way, or it was not due."""
    VOID = "void"
    """A newer one was begun meanwhile, or the memory was forgotten."""
    CROWDED = "crowded"
    """Too many wait already."""


def is_on(config: HonchoConfig | None = None) -> bool:
    """Whether memory is put beside messages at all."""
    config = config or configuration.live()
    return config.is_active and config.recall_mode != "tools"


def room() -> int:
    """Tokens that memory may take beside a message; 0 where there is none."""
    config = configuration.live()
    return config.context_tokens + FENCE_TOKENS if is_on(config) else 0


def journaled(steps: Iterable[Step]) -> str:
    """What stood beside the message when the turn's journal was begun."""
    return next((step.payload["content"] for step in steps if step.kind is StepKind.RECALLED), "")


def step(text: str) -> Step:
    """The journal's step for what stands beside the message."""
    return Step(StepKind.RECALLED, {"content": text})


async def recalled(turn: OpenTurn) -> str:
    """What is to stand below the turn's message: a block that says of itself what it is, or nothing.

    Waits no longer than the settings say, and never raises for what Honcho does.
    """
    if turn.steps:
        return journaled(turn.steps)
    config = configuration.live()
    if not is_on(config):
        return ""
    started = time.monotonic()
    if _is_skipped(turn, config):
        outcome, text = Recalled.SKIPPED, ""
    else:
        outcome, text = await _recalled(turn, config)
    metrics.RECALLS.labels(outcome=outcome.value).inc()
    metrics.RECALL_WAIT_SECONDS.observe(time.monotonic() - started)
    return fences.fenced(text) if text else ""


def prefetch(turn: OpenTurn) -> None:
    """Has what the next turn may need fetched, now that `turn` has ended; returns at once."""
    config = configuration.live()
    if turn.invocation or not is_on(config) or config.injection_frequency == "first-turn":
        return
    if turn.history.messages and _is_small_talk(turn):
        return
    if len(_fetches()) >= live.config().recall.most_waiting:
        metrics.RECALL_FETCHES.labels(outcome=Fetched.CROWDED.value).inc()
        return
    _fetches().start(_fetch_later(_place(turn, config), turn.context, config))


async def settled() -> None:
    """Waits until no fetch of this process is under way."""
    await _fetches().settled()


def forget(honcho_session_key: str) -> None:
    """Deletes what was fetched for a session; see `recall_cache.forget()`."""
    recall_cache.forget(honcho_session_key)


def _is_skipped(turn: OpenTurn, config: HonchoConfig) -> bool:
    is_first = not turn.history.messages
    return (config.injection_frequency == "first-turn" and not is_first) or _is_small_talk(turn)


def _is_small_talk(turn: OpenTurn) -> bool:
    return all(is_small_talk(message.text) and not message.attachments for message in turn.messages)


def _place(turn: OpenTurn, config: HonchoConfig) -> Place:
    context = turn.context
    peer = names.peer_name(context, config)
    return Place(context.honcho_session_key, peer, context.session_id, turn.turn_id)


async def _recalled(turn: OpenTurn, config: HonchoConfig) -> tuple[Recalled, str]:
    place, own = _place(turn, config), live.config().recall
    try:
        kept = await in_database(recall_cache.read, place, fresh_seconds=own.fresh_seconds)
        if kept.is_fresh:
            return Recalled.FRESH, kept.text
        newer = await _waited_for(place, turn.context, config, is_first=not turn.history.messages)
    except DatabaseError as error:
        log.warning("No memory for turn %s: the database failed (%s).", turn.turn_id, type(error).__name__)
        return Recalled.MISSING, ""
    if newer is not None:
        return Recalled.FETCHED, newer
    return (Recalled.OLD, kept.text) if kept.is_fetched else (Recalled.MISSING, "")


async def _waited_for(place: Place, context: SessionContext, config: HonchoConfig, *, is_first: bool) -> str | None:
    """What can be fetched while the message waits; it does not where waits came to nothing several times in a row."""
    if _breaker.is_open:
        metrics.RECALL_FETCHES.labels(outcome=Fetched.AWAY.value).inc()
        return None
    own = live.config().recall
    is_patient = _patience.takes(seconds=own.breaker_seconds)
    seconds = (own.first_wait_seconds if is_first else own.wait_seconds) if is_patient else 0.0
    started = time.monotonic()
    found = await _fetched_within(seconds, place, context, config)
    if found is not None:
        _patience.succeeded()
    elif is_patient and time.monotonic() - started >= seconds:
        _patience.failed(failures=own.breaker_failures, seconds=own.breaker_seconds)
    return found


async def _fetched_within(seconds: float, place: Place, context: SessionContext, config: HonchoConfig) -> str | None:
    """What can be fetched in so long, by us or by whoever is at it; None for nothing. A fetch of ours goes on."""
    deadline = time.monotonic() + seconds
    task = _fetches().start(_fetch(place, context, config, pool=Pool.READING))
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        return None
    outcome, text = task.result()
    while outcome is Fetched.BUSY and (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(LOOK_SECONDS, left))
        kept = await in_database(recall_cache.read, place, fresh_seconds=live.config().recall.fresh_seconds)
        if kept.is_fresh:
            return kept.text
        if not kept.is_under_way:
            return None
    return text


async def _fetch_later(place: Place, context: SessionContext, config: HonchoConfig) -> tuple[Fetched, str | None]:
    """`_fetch()` once there is a place for it, for the turn after that of `place`, which has ended."""
    async with _fetches().slots:
        return await _fetch(place, context, config, pool=Pool.RECALLING, has_ended=True)


async def _fetch(
    place: Place, context: SessionContext, config: HonchoConfig, *, pool: Pool, has_ended: bool = False
) -> tuple[Fetched, str | None]:
    """Fetches a person's memory and keeps it. Never raises but when it is cancelled."""
    try:
        outcome, text = await _try(place, context, config, pool=pool, has_ended=has_ended)
    except DatabaseError as error:
        log.warning("Memory was not kept: the database failed (%s).", type(error).__name__)
        outcome, text = Fetched.FAILED, None
    except Exception:  # whatever becomes of memory, the conversation goes on
        log.exception("Memory was not fetched.")
        outcome, text = Fetched.FAILED, None
    metrics.RECALL_FETCHES.labels(outcome=outcome.value).inc()
    return outcome, text


async def _try(
    place: Place, context: SessionContext, config: HonchoConfig, *, pool: Pool, has_ended: bool
) -> tuple[Fetched, str | None]:
    own = live.config().recall
    if _breaker.is_open:
        return Fetched.AWAY, None
    begun = await in_database(_begin, place, cadence=config.context_cadence if has_ended else 0, has_ended=has_ended)
    if begun is None:
        return Fetched.BUSY, None
    attempt, session = begun
    if not _breaker.takes(seconds=own.breaker_seconds):
        await in_database(recall_cache.give_up, attempt)
        return Fetched.AWAY, None
    started = time.monotonic()
    try:
        ask = functools.partial(remembered, context, session_name=session)
        memory = await client.run_in(pool, own.timeout_seconds, ask)
    except HonchoError as error:
        log.warning("No memory of session %s was fetched: %s", context.session_key, error)
        _note(error)
        await in_database(recall_cache.give_up, attempt)
        return Fetched.FAILED, None
    _breaker.succeeded()
    metrics.RECALL_FETCH_SECONDS.observe(time.monotonic() - started)
    text = worded(memory, tokens=config.context_tokens)
    if not await in_database(recall_cache.keep, attempt, text):
        return Fetched.VOID, None
    return Fetched.DONE, text


def _begin(place: Place, *, cadence: int, has_ended: bool) -> tuple[Attempt, str] | None:
    """The right to fetch, and Honcho's name for the session as it is now: it may have been forgotten meanwhile."""
    seconds = live.config().recall.timeout_seconds + SPARE_SECONDS
    attempt = recall_cache.begin(place, seconds=seconds, cadence=cadence, has_ended=has_ended)
    if attempt is None:
        return None
    key = place.honcho_session_key
    return attempt, names.session_name(key, generation=generations.generation(key))


def _note(error: HonchoError) -> None:
    """Has Honcho left alone for a while where it fails, or said so itself."""
    own = live.config().recall
    if error.retry_after:
        _breaker.failed(failures=1, seconds=error.retry_after)
    elif not error.is_permanent:
        _breaker.failed(failures=own.breaker_failures, seconds=own.breaker_seconds)


_breaker = Breaker()
"""Whether Honcho is asked."""
_patience = Breaker()
"""Whether a message waits for what it is asked."""


class _Fetches:
    """The fetches of one loop that are under way. Nobody waits for them; a loop that stops cancels them."""

    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[tuple[Fetched, str | None]]]()
        self._slots = asyncio.Semaphore(live.config().recall.at_once)

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def slots(self) -> asyncio.Semaphore:
        """Places for those that are made in the background."""
        return self._slots

    def start(self, fetch: Coroutine[Any, Any, tuple[Fetched, str | None]]) -> asyncio.Task[tuple[Fetched, str | None]]:
        task = asyncio.create_task(fetch)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settled(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)


def _fetches() -> _Fetches:
    """Those of the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _fetches_by_loop:
        _fetches_by_loop[loop] = _Fetches()
    return _fetches_by_loop[loop]


_fetches_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Fetches] = WeakKeyDictionary()
