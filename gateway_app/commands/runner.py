"""Runs the command that a message is: decides, by the configuration in force now, and returns the reply."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway_app.access.command_access import may_run, scope_of
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.config import live
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.sessions.source import SessionContext, SessionSource
from gateway_app.worker.database import in_database

from . import registry
from .base import Call, Command, Effect
from .invocation import Invocation

log = logging.getLogger(__name__)

MOST_NAMED = 12
"""Commands that a denial names; /help has them all."""


async def run_command(invocation: Invocation, *, context: SessionContext, source: SessionSource) -> str | Effect:
    """The reply to a command, or the effect that makes it; also to one that does not exist, or may not be run.

    Raises `django.db.Error`, and what the command raises.
    """
    commands, name = registry.shipped(), invocation.name
    command = commands.find(name)
    if command is None:
        return f"There is no command /{name}. /help lists those that there are."
    admission = await in_database(gatekeeper.decide, source)
    if not admission.is_allowed:
        # They were let in when they wrote it, and are not any more.
        _log_denial(source, name, admission.rule)
        return f"⛔ I did not run /{name}: you may not speak to me here any more."
    access = live.config().access.platforms.get(source.platform) or PlatformAccess()
    decision = may_run(source, command.name, access, aliases=command.aliases)
    permitted = commands.permitted(source, access)
    if not decision.is_allowed:
        _log_denial(source, name, decision.rule)
        return denial(name, permitted)
    if scope_of(source) not in command.scopes:
        return f"/{name} does not work in this kind of chat. /help lists what does."
    return await command.run(
        Call(
            context=context,
            source=source,
            name=name,
            arguments=invocation.arguments,
            admission=admission,
            decision=decision,
            permitted=permitted,
        )
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
