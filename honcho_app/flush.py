"""Carries out flushes of memory: an agent goes through a session that was put aside and saves what is worth it.

It is a temporary agent of the old session: it has that session's transcript and context, and of the tools only those
that add to the memory. Nothing of its conversation reaches the transcript, Honcho's history, or the person. What it
does is journaled, so that a worker that takes a flush over repeats neither a model call nor a tool.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from django.conf import settings
from django.db import Error as DatabaseError

from gateway_app.agent import window
from gateway_app.agent.ai_agent import AIAgent
from gateway_app.agent.model_client import ModelError, ModelErrorKind, client
from gateway_app.agent.registry import Registry, Tool
from gateway_app.agent.results import Result
from gateway_app.agent.routing import models_for
from gateway_app.agent.tools import memory
from gateway_app.agent.tools import registry as tool_registry
from gateway_app.agent.usage import Usage
from gateway_app.config import live
from gateway_app.lanes import LaneLost
from gateway_app.models.flush import FlushOutcome
from gateway_app.sessions import flushes
from gateway_app.sessions.flushes import Attempt, Material
from gateway_app.sessions.source import SessionContext
from gateway_app.turns.journal import Step
from gateway_app.worker.database import in_database, record_in_database

from . import configuration, ledger, managers, sending
from . import tools as honcho
from .manager import HonchoSessionManager
from .tools import conclude, profile, search
from .tools import context as context_tool

log = logging.getLogger(__name__)

SPARE_SECONDS = 30.0
"""A claim's lease beyond the longest attempt: for the database, on both sides of it."""
RUN_SECONDS = 60.0
"""A task begins no further flush after so long; beat rings again, and a worker that stops is not kept from it."""
DRAIN_SECONDS = 20.0
"""Longest that a flush waits for what its key has waiting for Honcho to be written."""
UNDRAINED = "some of what was said still waits to be written to Honcho"
ASKED = """\
[From the gateway, not from the person: this conversation is put aside now. The next one does not show what was said
here, so whatever is to be known then has to be saved. Nobody reads what you write here: do not answer the person.

Save, with the tools that you have here, what will matter later: lasting facts about the person, their wishes and
preferences, what was decided, and what was agreed and is still open. Each in a sentence that can be understood by
itself. Save no secrets, no small talk, nothing that was true for the moment only, and nothing that somebody asked to be
forgotten. Where nothing is worth it, save nothing.

Only add. Conversations that came later may have saved more by now; this is there already, and is not to be saved again
in other words:
{notes}

{about}

Once you are done, write: done.]"""
NO_NOTES = "(nothing)"


async def carry_out_due(*, http: aiohttp.ClientSession) -> None:
    """Carries out the flushes that are due, one after another; nothing while this process has enough in hand."""
    free = live.config().memory.flush_at_once - _in_hand.get(asyncio.get_running_loop(), 0)
    until = time.monotonic() + RUN_SECONDS
    await asyncio.gather(*(_carry_out_some(until=until, http=http) for _ in range(free)))


_in_hand: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()
"""How many flushes are carried out on an event loop."""


async def _carry_out_some(*, until: float, http: aiohttp.ClientSession) -> None:
    loop = asyncio.get_running_loop()
    _in_hand[loop] = _in_hand.get(loop, 0) + 1
    try:
        while time.monotonic() < until and (attempt := await in_database(flushes.claim_next, seconds=_lease())):
            await carry_out(attempt, http=http)
    finally:
        _in_hand[loop] -= 1


def _lease() -> float:
    return live.config().memory.flush_timeout_seconds + SPARE_SECONDS


async def carry_out(attempt: Attempt, *, http: aiohttp.ClientSession) -> None:
    """Carries out a flush, or what is left to be done of it. Raises only where it is cancelled."""
    try:
        async with asyncio.timeout(live.config().memory.flush_timeout_seconds):
            if not attempt.is_saved:
                await _save(attempt, http=http)
        await record_in_database(flushes.finish, attempt, note=await _let_go(attempt))
    except LaneLost:
        log.warning("Flush %s was lost; another worker goes on with it.", attempt.flush_id)
    except asyncio.CancelledError:
        await asyncio.shield(_hand_back(attempt))
        raise
    except DatabaseError as error:
        log.error("Flush %s was left, the database is out of reach (%s).", attempt.flush_id, type(error).__name__)
    except Exception as error:  # whatever becomes of one flush, the others are carried out
        await _fail(attempt, error)


async def _let_go(attempt: Attempt) -> str:
    """Has what waits for Honcho written, and the session's manager shut down; returns what is left to be said of it.

    What Honcho does not take now stays on its lane, which goes on with it whatever becomes of the flush.
    """
    key = attempt.honcho_session_key
    if not configuration.live().is_active:
        return ""
    ended = await in_database(flushes.ended_session, attempt)
    if ended:
        managers.shut_down(key, session_id=ended)
    await in_database(ledger.release, honcho_session_key=key)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await sending.drain(key=key)
    return "" if await in_database(ledger.is_drained, honcho_session_key=key) else UNDRAINED


async def _fail(attempt: Attempt, error: Exception) -> None:
    if isinstance(error, TimeoutError):
        words = f"took longer than {live.config().memory.flush_timeout_seconds:g} s"
    elif isinstance(error, ModelError):
        words = str(error)
    else:
        log.error("Flush %s failed.", attempt.flush_id, exc_info=error)
        words = type(error).__name__
    log.warning(
        "Flush %s of %s, attempt %d: %s.", attempt.flush_id, attempt.honcho_session_key, attempt.attempts, words
    )
    with contextlib.suppress(DatabaseError):  # its lease ends
        await record_in_database(flushes.fail, attempt, error=words)


async def _hand_back(attempt: Attempt) -> None:
    with contextlib.suppress(DatabaseError):  # its lease ends
        await in_database(flushes.hand_back, attempt)


async def _save(attempt: Attempt, *, http: aiohttp.ClientSession) -> None:
    """The agent's part: once it has committed, nothing of it is done again."""
    context = await in_database(flushes.context_of, attempt)
    tools = tools_for(context)
    room = window.room(prompt=ASKED, tools=tools)
    material = await in_database(flushes.begin, attempt, room=room, seconds=_lease())
    outcome, usage = _spared(material, tools), Usage()
    if outcome is None:
        usage = await _converse(attempt, material, tools=tools, http=http)
        outcome = FlushOutcome.SAVED
    await record_in_database(
        flushes.save,
        attempt,
        outcome=outcome,
        last_message=material.last_message,
        usage=usage,
        seconds=_lease(),
    )


def _spared(material: Material, tools: Registry) -> FlushOutcome | None:
    """Why no agent goes through the session, if none does."""
    if material.count < live.config().memory.flush_min_messages:
        return FlushOutcome.TOO_SHORT
    if material.last_message <= material.flushed_until:
        return FlushOutcome.NOTHING_NEW
    if settings.MODEL_IS_DEMONSTRATION:
        return FlushOutcome.NO_MODEL
    return None if tools.names and settings.MODEL_TOOLS else FlushOutcome.NO_TOOLS


def tools_for(context: SessionContext) -> Registry:
    """The tools of a flush of the session of `context`: those of its own that add to the memory, and ask nobody.

    What is written to Honcho is about one person: where several wrote, there is nobody that it could be about.
    """
    found = tool_registry(context)
    own = [tool for tool in TOOLS if tool.name in found.names and found.asks(tool.name) is None]
    return Registry(tool for tool in own if context.user_id or tool.name not in honcho.NAMES)


async def _converse(attempt: Attempt, material: Material, *, tools: Registry, http: aiohttp.ClientSession) -> Usage:
    """Has the agent go through the session; what that used."""
    steps = list(material.steps)

    async def record(more: Sequence[Step], results: Sequence[Result]) -> None:
        await in_database(flushes.record, attempt, first=len(steps), steps=more, seconds=_lease())
        steps.extend(more)

    async def commit(function: Callable[[], Any]) -> Any:
        return await in_database(flushes.commit, attempt, function, seconds=_lease())

    config, context = live.config(), material.context
    # Its own, so that the conversation that goes on meanwhile keeps the one that it has.
    memory_of = configuration.live()
    manager = HonchoSessionManager(context=context, config=memory_of) if memory_of.is_active else None
    agent = AIAgent(
        model=client(http),
        models=(
            (config.model.auxiliary,) if config.model.auxiliary else models_for(context, config, material.overrides)
        ),
        tools=tools,
        context=context,
        record=record,
        commit=commit,
        prompt=material.prompt,
        honcho_manager=manager,
        honcho_session_key=context.honcho_session_key,
        most_steps=config.memory.flush_max_steps - 1,
    )
    try:
        conversation = await agent.run_conversation(
            asked(material), history=material.history.messages, steps=tuple(steps), sync_honcho=False
        )
    except ModelError as error:
        if error.kind is not ModelErrorKind.EMPTY_REPLY:
            raise
        return Usage.of(steps)  # nobody was to be answered: some models say nothing then
    finally:
        if manager:
            manager.shutdown()
    return conversation.usage


def asked(material: Material) -> str:
    """What the agent is asked to do, with what is noted down already, in which no note can pass for anything else."""
    noted = [{"scope": scope, "notes": [note.text for note in found]} for scope, found in material.notes]
    return ASKED.format(notes=json.dumps(noted, ensure_ascii=False) if noted else NO_NOTES, about=memory.AS_DATA)


def _adding(tool: Tool, *names: str, **changes: Any) -> Tool:
    """`tool` with none of its parameters but `names`."""
    properties = {name: tool.parameters["properties"][name] for name in names}
    required = changes.pop("required", tool.parameters.get("required", []))
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return dataclasses.replace(tool, parameters=parameters, **changes)


async def _note(args: dict[str, Any], **kwargs: Any) -> str:
    return await memory.memory(args | {"action": "add"}, **kwargs)


TOOLS = (
    _adding(
        memory.TOOL,
        "scope",
        "text",
        required=["text"],
        description=(
            "Notes a fact down for later conversations. scope user is this person's, in all their direct messages;"
            " scope session is this chat's. Never note down secrets."
        ),
        handler=_note,
        is_repeatable=True,  # a note that is there already stays as it is
    ),
    _adding(
        conclude.TOOL,
        "conclusion",
        "peer",
        required=["conclusion"],
        description="Writes a conclusion down in long-term memory: one lasting fact. Never write down secrets.",
    ),
    _adding(profile.TOOL, "peer", description="Reads the card of the person: the facts that are always worth knowing."),
    search.TOOL,
    context_tool.TOOL,
)
"""The tools of the memory as a flush has them: they only add, since conversations that came later may have changed what
is there."""
