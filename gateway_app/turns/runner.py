"""Runs a session's turns: one after the other while messages wait, each answered and delivered by this worker."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import aiohttp
from django.conf import settings
from django.db import Error as DatabaseError

from gateway_app import doorbell, metrics
from gateway_app.agent.ai_agent import AIAgent, Conversation
from gateway_app.agent.asking import Parked
from gateway_app.agent.interruption import cut_short
from gateway_app.agent.model_client import ModelError, client
from gateway_app.agent.registry import Registry
from gateway_app.agent.results import Result
from gateway_app.agent.results import keeping as results_kept
from gateway_app.agent.routing import models_for
from gateway_app.agent.tools import prepare as prepare_tools
from gateway_app.agent.tools import registry as tool_registry
from gateway_app.agent.usage import Usage
from gateway_app.commands.runner import run_command
from gateway_app.config import live
from gateway_app.delivery import sender
from gateway_app.lanes import LaneLost
from gateway_app.media import outgoing, vision
from gateway_app.models.turn import StepKind, TurnState
from gateway_app.platforms import registry as platforms
from gateway_app.questions import deciding, permissions
from gateway_app.sessions.source import SessionContext
from gateway_app.worker.database import in_database, record_in_database
from gateway_app.worker.leases import keeper
from honcho_app import fences, recall
from honcho_app.managers import manager_for

from . import attachments, compression, enclosures, journal, presence, steering
from .closing import Closed, Outcome, StopAsked, close
from .display import display_of, with_thoughts
from .opening import OpenTurn, claim_and_open, give_up_early
from .parking import park
from .stop_watch import stop_watch

T = TypeVar("T")

log = logging.getLogger(__name__)

COMMAND = "command"
"""Stands for a call's id in the journal of a turn that runs a command."""
GIVEN_UP = (
    "I am sorry: I tried to answer this several times and something went wrong inside the gateway each time."
    " The message is kept for the operator."
)
STOPPED = "*(stopped here)*"
"""Below what was said so far, where people saw it being written."""
TIMED_OUT = "I am sorry: this took longer than I am allowed to spend on one message, so I stopped."


async def run_sessions(contexts: Sequence[SessionContext], *, http: aiohttp.ClientSession) -> None:
    """`run_session()` for each, all at once; raises the first error once all have ended."""
    ended = await asyncio.gather(*(run_session(context, http=http) for context in contexts), return_exceptions=True)
    for error in ended:
        if error is not None:
            raise error


async def run_session(context: SessionContext, *, http: aiohttp.ClientSession) -> None:
    """Answers everything that waits in the session of `context`; nothing where another worker is at it.

    Waits, before it claims anything, while this process has WORKER_CONCURRENCY sessions in hand.
    """
    compressions: list[asyncio.Task[None]] = []
    try:
        async with _slots():
            await _run_session(context, http=http, compressions=compressions)
        await asyncio.gather(*compressions)
    finally:
        for task in compressions:
            task.cancel()
        await asyncio.gather(*compressions, return_exceptions=True)


def _slots() -> asyncio.Semaphore:
    """The running loop's places for sessions."""
    loop = asyncio.get_running_loop()
    if loop not in _slots_by_loop:
        _slots_by_loop[loop] = asyncio.Semaphore(settings.WORKER_CONCURRENCY)
    return _slots_by_loop[loop]


_slots_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def _run_session(
    context: SessionContext, *, http: aiohttp.ClientSession, compressions: list[asyncio.Task[None]]
) -> None:
    """Adds what goes on when the last turn has ended to `compressions`: nobody waits for it, and it holds no lane."""
    turn = await in_database(claim_and_open, session_key=context.session_key)
    if turn is None:
        return
    claim = turn.claim
    deliveries: list[asyncio.Task[None]] = []
    try:
        async with keeper.keeping(claim):
            while turn:
                try:
                    closed = await _run(turn, http=http)
                finally:
                    deliveries += turn.leftovers
                if closed.is_long:
                    later = compression.compress_later(session_pk=turn.session_pk, context=turn.context, http=http)
                    compressions.append(asyncio.create_task(later))
                if closed.is_for_honcho:
                    ring = asyncio.to_thread(doorbell.ring_honcho, [turn.context.honcho_session_key])
                    deliveries.append(asyncio.create_task(ring))
                turn = closed.following
                if closed.delivery and closed.head:
                    deliveries.append(asyncio.create_task(sender.drain(closed.delivery, closed.head, http=http)))
    except LaneLost:
        metrics.LANES_LOST.inc()
        log.warning("Lost the lane of session %s; another worker goes on with it.", claim.key)
    finally:
        if deliveries:
            await asyncio.gather(*deliveries)


async def _run(turn: OpenTurn, *, http: aiohttp.ClientSession) -> Closed:
    started = time.monotonic()
    try:
        if turn.answers:
            await in_database(deciding.audit, turn.claim, turn_id=turn.turn_id)
        outcome = await _outcome(turn, http=http)
        try:
            if isinstance(outcome, Parked):
                return await record_in_database(park, turn, outcome)
            closed = await record_in_database(close, turn, outcome)
        except StopAsked as asked:
            turn.stop = asked.reason
            said = outcome.reply if isinstance(outcome, Outcome) and outcome.state is TurnState.DONE else ""
            outcome = _stopped(turn, said=said)
            closed = await record_in_database(close, turn, outcome)
    except LaneLost:
        raise
    except asyncio.CancelledError:
        if turn.claim.is_trusted():
            await asyncio.shield(_hand_back(turn, wait=0.0))
        raise
    except DatabaseError as error:
        log.error("Turn %s was left, the database is out of reach (%s).", turn.turn_id, type(error).__name__)
        return Closed(None, None, None)
    except Exception:
        log.exception("Turn %s of session %s failed (attempt %s).", turn.turn_id, turn.claim.key, turn.attempts)
        await _hand_back(turn, wait=float(2**turn.attempts))
        return Closed(None, None, None)
    metrics.TURNS.labels(outcome=outcome.state.value).inc()
    metrics.TURN_SECONDS.observe(time.monotonic() - started)
    if isinstance(outcome, Outcome):
        recall.prefetch(turn)
    return dataclasses.replace(closed, is_long=compression.is_due(turn, outcome))


async def _outcome(turn: OpenTurn, *, http: aiohttp.ClientSession) -> Outcome | Parked:
    if turn.stop:
        return _stopped(turn)
    if turn.attempts > settings.TURN_MAX_ATTEMPTS:
        reason = f"given up after {turn.attempts - 1} attempts"
        log.error("Turn %s of session %s: %s.", turn.turn_id, turn.claim.key, reason)
        return Outcome(state=TurnState.DEAD, reply=GIVEN_UP, error_kind="attempts", error=reason)
    try:
        async with asyncio.timeout(settings.TURN_TIMEOUT_SECONDS) as limit:
            with stop_watch.watching(turn, limit):
                if turn.invocation:
                    begin = functools.partial(_begin, turn)
                    answer = await run_command(turn.invocation, context=turn.context, source=turn.source, begin=begin)
                    if isinstance(answer, str):
                        return Outcome(state=TurnState.DONE, reply=answer)
                    return Outcome(state=TurnState.DONE, effect=answer)
                conversation = await _converse(turn, http=http)
    except Parked as parked:
        return parked
    except ModelError as error:
        metrics.MODEL_FAILURES.labels(kind=error.kind.value).inc()
        log.error("Turn %s of session %s: model error %s", turn.turn_id, turn.claim.key, error)
        return Outcome(
            state=TurnState.FAILED,
            reply=error.explanation,
            error_kind=error.kind.value,
            error=str(error),
            **_used(Usage.of(turn.steps)),
        )
    except TimeoutError:
        if turn.stop:
            return _stopped(turn, said=turn.partial)
        log.error("Turn %s of session %s took too long.", turn.turn_id, turn.claim.key)
        reason = f"took longer than {settings.TURN_TIMEOUT_SECONDS:g} s"
        return Outcome(
            state=TurnState.FAILED,
            reply=TIMED_OUT,
            error_kind="timeout",
            error=reason,
            **_used(Usage.of(turn.steps)),
        )
    outcome = Outcome(
        state=TurnState.DONE,
        reply=conversation.reply,
        said=conversation.said,
        steps=[conversation.last] if conversation.last else [],
        sync_honcho=conversation.sync_honcho,
        **_used(conversation.usage),
    )
    outcome = await enclosures.enclosed(turn, outcome, http=http)
    return dataclasses.replace(outcome, reply=_shown(turn, outcome.reply, thoughts=conversation.thoughts))


async def _begin(turn: OpenTurn) -> bool:
    """Journals that the turn's command does now what it must not do twice; false where that was journaled before."""
    if turn.steps:
        return False
    await _to_its_end(_record(turn, [journal.Step(StepKind.TOOL_STARTED, {"tool_call_id": COMMAND})], []))
    return True


def _stopped(turn: OpenTurn, *, said: str = "") -> Outcome:
    """How a turn ends that was asked to stop; `said` is what the model had said since the last step.

    People who saw it being written keep it. The others have the answer to `/stop`, or that to what interrupted.
    """
    if turn.invocation:
        return Outcome(state=TurnState.STOPPED, reply="")
    conversation, steps = cut_short(turn.steps, text=said)
    platform = platforms.get(turn.context.platform)
    display = display_of(platform, overrides=turn.overrides, is_beside=bool(turn.source.background))
    is_seen = turn.preview or (said.strip() and platform.is_streamed and display.is_streamed)
    return Outcome(
        state=TurnState.STOPPED,
        reply=f"{outgoing.unasked(said).rstrip()}\n\n{STOPPED}".lstrip() if is_seen else "",
        said=conversation.said,
        steps=steps,
        **_used(conversation.usage),
    )


def _shown(turn: OpenTurn, reply: str, *, thoughts: list[str]) -> str:
    """The reply as people get it."""
    platform = platforms.get(turn.context.platform)
    if not thoughts or platform.is_streamed:
        return reply
    is_shown = display_of(platform, overrides=turn.overrides).shows_reasoning
    return with_thoughts(reply, thoughts=thoughts) if is_shown else reply


def _used(usage: Usage) -> dict[str, Any]:
    return {"usage": usage, "cost_micros": usage.cost_micros(live.config().model.prices)}


async def _converse(turn: OpenTurn, *, http: aiohttp.ClientSession) -> Conversation:
    async def record(steps: Sequence[journal.Step], results: Sequence[Result]) -> None:
        await _to_its_end(_record(turn, steps, results, stage=stage))

    async def commit(function: Callable[[], Any]) -> Any:
        return await _to_its_end(in_database(journal.commit, turn.claim, function))

    async def join() -> list[journal.Step]:
        known = len(turn.steps)
        if turn.claim.tail != turn.seen_tail:
            await _to_its_end(in_database(steering.take, turn))
        return turn.steps[known:]

    async def compress() -> list[dict[str, Any]] | None:
        is_shorter = await compression.compress_for(turn, http=http, is_needed=True)
        return turn.history.messages if is_shorter else None

    async def permit(tools: AbstractSet[str]) -> AbstractSet[str]:
        session_id = turn.context.session_id
        return await in_database(permissions.permitted, turn.source, session_id=session_id, tools=tools)

    platform = platforms.get(turn.context.platform)
    async with presence.shown(platform, turn, http=http) as stage:
        models = models_for(turn.context, live.config(), turn.overrides)
        seeing = [model for model in models if vision.sees(model, live.config().media.vision_models)]
        await attachments.take_in(turn, sees=models[0] in seeing, http=http)
        await prepare_tools(turn.context)
        turn.recalled = await recall.recalled(turn)
        shows = stage.display
        agent = AIAgent(
            model=client(http),
            models=models,
            tools=_tools(turn),
            context=turn.context,
            record=record,
            commit=commit,
            turn_id=turn.turn_id,
            prompt=turn.prompt,
            effort=turn.overrides.reasoning_effort,
            on_text=stage.on_text if shows.is_streamed else None,
            on_thought=stage.on_thought if shows.shows_reasoning else None,
            on_call=None if shows.tool_progress == "off" else stage.on_call,
            join=join,
            compress=compress,
            seeing=seeing,
            answers=turn.answers,
            permit=permit,
            spoken=fences.unrepeated if turn.recalled else None,
            honcho_manager=manager_for(turn.context),
            honcho_session_key=turn.context.honcho_session_key,
        )
        if turn.history.is_cut and not turn.is_resting and not turn.steps:
            await compression.compress_for(turn, http=http, is_needed=False)
        return await agent.run_conversation(
            _asked(turn), images=turn.images, history=turn.history.messages, steps=tuple(turn.steps)
        )


def _asked(turn: OpenTurn) -> str:
    """The message with what stands around it for this turn only: a reset that is told of, and what is remembered.

    That comes last, so that the message begins as the transcript has it: a server's cache of the prompt reaches so far.
    """
    note = turn.reset.note if turn.reset else ""
    return "\n\n".join(part for part in (note, turn.asked, turn.recalled) if part)


def _tools(turn: OpenTurn) -> Registry:
    """Work in the background asks nothing in words: the next message in the chat is the conversation's."""
    tools = tool_registry(turn.context)
    return tools.without_questions() if turn.source.background else tools


async def _record(
    turn: OpenTurn, steps: Sequence[journal.Step], results: Sequence[Result], *, stage: presence.Stage | None = None
) -> None:
    if turn.recalled and not turn.steps:
        steps = [recall.step(turn.recalled), *steps]
    besides = results_kept(results, session_pk=turn.session_pk, turn_id=turn.turn_id)
    if stage:
        besides += stage.closing(steps)
    first = len(turn.steps)
    await in_database(journal.record, turn.claim, turn_id=turn.turn_id, first=first, steps=steps, besides=besides)
    turn.steps.extend(steps)
    turn.partial = ""
    if stage:
        stage.close(steps)


async def _to_its_end(committing: Coroutine[Any, Any, T]) -> T:
    """Awaits `committing` to its end also where it is cancelled meanwhile: what has committed must be known."""
    task = asyncio.ensure_future(committing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever commits next meets it again
        raise


async def _hand_back(turn: OpenTurn, *, wait: float) -> None:
    try:
        await in_database(give_up_early, turn, wait=wait)
    except (LaneLost, DatabaseError) as error:
        log.warning("Could not hand turn %s back (%s); its lease will end.", turn.turn_id, type(error).__name__)
