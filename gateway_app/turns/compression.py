"""Compresses what a session's history has become too long for, after a turn for the next one where that is possible."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from enum import StrEnum
from weakref import WeakKeyDictionary

import aiohttp
from django.conf import settings
from django.db import Error as DatabaseError

from gateway_app import metrics
from gateway_app.agent import summary, window
from gateway_app.agent.model_client import ModelError, client
from gateway_app.agent.routing import models_for
from gateway_app.agent.tools import registry as tool_registry
from gateway_app.agent.usage import count
from gateway_app.config import live
from gateway_app.config.schema.context import Compression as Settings
from gateway_app.sessions import compression, compression_plan, history, tokens
from gateway_app.sessions.compression import Attempt, Material, Written
from gateway_app.sessions.compression_plan import Limits, Plan
from gateway_app.sessions.history import Compressed, History
from gateway_app.sessions.source import SessionContext
from gateway_app.statements import execute
from gateway_app.worker.database import in_database

from .closing import Outcome
from .opening import OpenTurn

log = logging.getLogger(__name__)

SPARE_SECONDS = 30.0
"""An attempt's lease beyond the wait for the summary: for the database, on both sides of it."""
AT_ONCE = 4
"""Summaries that a process has written at once beside its turns, which need the model's server more."""
NEEDED_SHARE = 0.5
"""Of the history that a model found too long: what is left of it."""


class Result(StrEnum):
    """What an attempt to compress a history came to."""

    DONE = "done"
    NOTHING = "nothing"
    """There was too little to be gained."""
    BUSY = "busy"
    """Another attempt is under way, or came to nothing a while ago."""
    VOID = "void"
    """Something else has changed the history meanwhile."""
    FAILED = "failed"
    OFF = "off"


def is_due(turn: OpenTurn, outcome: Outcome) -> bool:
    """Whether the history has become so long, with this turn, that the next one's is to be compressed."""
    config = live.config().compression
    if turn.invocation or turn.is_resting or not _is_on(config):
        return False
    said = (turn.asked, *(message["content"] for message in outcome.said))
    used = turn.history.tokens + sum(map(tokens.estimate, said))
    messages = len(turn.history.messages) + len(said)
    return bool(used > config.threshold * turn.room or messages > config.threshold * settings.HISTORY_MAX_MESSAGES)


async def compress_for(turn: OpenTurn, *, http: aiohttp.ClientSession, is_needed: bool) -> bool:
    """Compresses the session's history while its turn waits, which goes on with the shorter one; whether it did.

    `is_needed` where a model finds the present one too long, whatever our estimate says.
    """
    most = int(NEEDED_SHARE * turn.history.tokens) if is_needed else 0
    result = await compress(session_pk=turn.session_pk, context=turn.context, http=http, most=most)
    if result is not Result.DONE:
        return False
    turn.history = await in_database(read_history, turn)
    return True


def read_history(turn: OpenTurn) -> History:
    """The session's history as it fits beside what the turn asks now."""
    compressed = compression.current(session_pk=turn.session_pk)
    reading = history.reading(session_pk=turn.session_pk, inherited=turn.inherited, compressed=compressed)
    (found,) = execute(reading)
    budget = turn.room - tokens.estimate(turn.asked)
    return history.fitting(history.messages(found, compressed=compressed), budget=budget, compressed=compressed)


async def compress_later(*, session_pk: int, context: SessionContext, http: aiohttp.ClientSession) -> None:
    """`compress()` once there is a place for it, where nobody waits for it."""
    loop = asyncio.get_running_loop()
    if loop not in _places:
        _places[loop] = asyncio.Semaphore(AT_ONCE)
    async with _places[loop]:
        await compress(session_pk=session_pk, context=context, http=http)


_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def compress(
    *, session_pk: int, context: SessionContext, http: aiohttp.ClientSession, most: int = 0, is_asked: bool = False
) -> Result:
    """Compresses a session's history. Where it does not, the model gets as much of the newest messages as fits.

    `most` are the tokens that are to be left of it where that is less than usual; `is_asked` says that a person asked
    for it, so that it may do little. Never raises but when it is cancelled.
    """
    config = live.config().compression
    if not _is_on(config):
        return Result.OFF
    seconds = config.timeout_seconds + SPARE_SECONDS
    attempt: Attempt | None = None
    wait = config.cooldown_seconds
    result = Result.FAILED
    try:
        begun = await in_database(compression.begin, session_pk=session_pk, seconds=seconds, is_asked=is_asked)
        if begun is None:
            return Result.BUSY
        attempt, material = begun
        if plan := _planned(attempt, material, context, config=config, most=most, is_asked=is_asked):
            done = await _written(attempt, plan, context=context, http=http, seconds=config.timeout_seconds)
            is_kept = await in_database(compression.keep, attempt, done)
            result = Result.DONE if is_kept else Result.VOID
        else:
            result = Result.NOTHING
    except asyncio.CancelledError:
        wait = 0.0
        raise
    except (ModelError, TimeoutError, summary.BadSummary, DatabaseError) as error:
        log.warning("No summary of session %s: %s: %s", context.session_key, type(error).__name__, error)
    except Exception:  # whatever becomes of a summary, the conversation goes on
        log.exception("No summary of session %s.", context.session_key)
    finally:
        if attempt and result in (Result.NOTHING, Result.FAILED):
            await asyncio.shield(_give_up(attempt, wait=wait))
    metrics.COMPRESSIONS.labels(outcome=result.value).inc()
    return result


def _is_on(config: Settings) -> bool:
    return config.enabled and not settings.MODEL_IS_DEMONSTRATION


def _planned(
    attempt: Attempt, material: Material, context: SessionContext, *, config: Settings, most: int, is_asked: bool
) -> Plan | None:
    room = window.room(prompt=attempt.prompt, tools=tool_registry(context))
    usual = int(config.threshold * room)
    limits = Limits(
        tokens=min(usual, most) if most else usual,
        messages=int(config.threshold * settings.HISTORY_MAX_MESSAGES),
        protect_first=config.protect_first,
        protect_last=config.protect_last,
        is_needed=bool(most) or is_asked,
    )
    return compression_plan.plan(material, compressed=attempt.compressed, limits=limits)


async def _written(
    attempt: Attempt, plan: Plan, *, context: SessionContext, http: aiohttp.ClientSession, seconds: float
) -> Written:
    """What the plan comes to. Raises what `summary.written()` raises, and `BadSummary` for one that saves nothing."""
    known = attempt.compressed or Compressed(0)
    if not plan.middle:
        return Written(known.head_until, known.last_message, plan.pruned_until, known.summary)
    config = live.config()
    text, reply = await summary.written(
        plan.middle,
        before=known.summary,
        longest=plan.summary_tokens,
        model=client(http),
        models=(config.model.auxiliary,) if config.model.auxiliary else models_for(context, config, attempt.overrides),
        seconds=seconds,
    )
    count(reply)
    if tokens.estimate(text) >= plan.tokens:
        raise summary.BadSummary("a summary that is no shorter than what it sums up")
    return Written(
        plan.head_until,
        plan.middle[-1].pk,
        plan.pruned_until,
        text,
        model=reply.model,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )


async def _give_up(attempt: Attempt, *, wait: float) -> None:
    with contextlib.suppress(DatabaseError):  # its lease ends
        await in_database(compression.give_up, attempt, wait=wait)
