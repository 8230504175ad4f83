"""Runs the command that a message is: decides, by the configuration in force now, and returns the reply."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from django.db import transaction

from gateway_app.access.command_access import scope_of
from gateway_app.access.decision import Decision
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.config import live
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.sessions.source import SessionContext, SessionSource
from gateway_app.worker.database import in_database

from . import registry
from .base import Answer, Begin, Call, Command, Effect, always
from .invocation import Invocation

log = logging.getLogger(__name__)

MOST_NAMED = 12
"""Commands that a denial names; /help has them all."""


async def run_command(
    invocation: Invocation, *, context: SessionContext, source: SessionSource, begin: Begin = always
) -> str | Effect:
    """The reply to a command, or the effect that makes it; also to one that does not exist, or may not be run.

    `begin` is `Call.begin`.
    Raises `django.db.Error`, and what the command raises.
    """
    name = invocation.name
    command = registry.in_force().find(name)
    if command is None:
        return f"There is no command /{name}. /help lists those that there are."
    admission = await in_database(gatekeeper.decide, source)
    if not admission.is_allowed:
        # They were let in when they wrote it, and are not any more.
        _log_denial(source, name, admission.rule)
        return f"⛔ I did not run /{name}: you may not speak to me here any more."
    call = calling(command, invocation, context=context, source=source, admission=admission, begin=begin)
    if isinstance(call, str):
        return call
    if command.answer:  # a control command that stood behind `/queue`
        return await in_database(_answer, command.answer, call)
    assert command.run
    return await command.run(call)


def _answer(answer: Callable[[Call], str | Answer], call: Call) -> str:
    with transaction.atomic():
        reply = answer(call)
    return reply.text if isinstance(reply, Answer) else reply


def calling(
    command: Command,
    invocation: Invocation,
    *,
    context: SessionContext,
    source: SessionSource,
    admission: Decision,
    begin: Begin = always,
    place: int | None = None,
) -> Call | str:
    """The call that an invocation of `command` is, by the rules in force now; or what the person is told instead."""
    access = live.config().access.platforms.get(source.platform) or PlatformAccess()
    decision = registry.decide(command, source=source, access=access)
    permitted = registry.in_force().permitted(source, access)
    if not decision.is_allowed:
        _log_denial(source, invocation.name, decision.rule)
        return denial(invocation.name, permitted)
    if scope_of(source) not in command.scopes:
        return f"/{invocation.name} does not work in this kind of chat. /help lists what does."
    return Call(
        context=context,
        source=source,
        name=invocation.name,
        arguments=command.given(invocation.arguments),
        admission=admission,
        decision=decision,
        permitted=permitted,
        begin=begin,
        place=place,
    )


def denial(name: str, permitted: Sequence[Command]) -> str:
    """What a person is told who may not run a command."""
    named = [f"/{command.name}" for command in permitted[:MOST_NAMED]]
    more = ["…"] if len(permitted) > MOST_NAMED else []
    return f"⛔ /{name} is admin-only here. You may use: {', '.join(named + more)}"


def _log_denial(source: SessionSource, name: str, rule: str) -> None:
    log.info(
        "Denied /%s to %s user %r in chat %r: %s.", name, source.platform, source.user_id, source.chat_id, rule
    )  # fmt: skip
