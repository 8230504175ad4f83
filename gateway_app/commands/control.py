"""Control commands: found where messages are accepted, and answered there, so that they wait for no turn."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway_app.access.command_access import scope_of
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.config import live
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.models.inbox import BusyMode
from gateway_app.sessions.source import SessionContext, SessionSource
from gateway_app.turns import busy

from . import registry
from .base import Answer, Command
from .invocation import Invocation, invoked
from .runner import calling


@dataclass(frozen=True, slots=True)
class Control:
    """A control command that somebody sent."""

    command: Command
    invocation: Invocation
    source: SessionSource

    @property
    def reaches(self) -> str:
        """The session key of another lane that it changes, which is to be locked before any other; empty for none."""
        if not self.command.reaches:
            return ""
        return self.command.reaches(self.source, self.command.given(self.invocation.arguments))

    def reply(self, *, context: SessionContext, place: int) -> Answer:
        """Does what it is for and returns what the person is told. Must run in a transaction that holds the lane."""
        call = calling(
            self.command,
            self.invocation,
            context=context,
            source=self.source,
            admission=gatekeeper.decide(self.source),
            place=place,
        )
        if isinstance(call, str):
            return Answer(text=call)
        assert self.command.answer
        reply = self.command.answer(call)
        return Answer(text=reply) if isinstance(reply, str) else reply


@dataclass(frozen=True, slots=True)
class Reading:
    """How a message is taken: its text and its mode, and the control command that it is or was sent with."""

    text: str
    mode: BusyMode
    control: Control | None = None
    waits: bool = True
    """For a turn. A command that only controls is done with once it is answered."""


def read(text: str, *, source: SessionSource) -> Reading:
    """How a message of `source` is taken, by the configuration in force now."""
    found = invoked(text, source=source)
    if found is None:
        return Reading(text, busy.mode_of(source))
    command = registry.in_force().find(found.name)
    if command is None or not command.is_control:
        return Reading(text, BusyMode.COLLECT)
    reading = Reading(text, BusyMode.COLLECT, Control(command, found, source), waits=False)
    message = command.given(found.arguments)
    if command.takes and message and _may_run(command, source):
        return replace(reading, text=message, mode=command.takes, waits=True)
    return reading


def _may_run(command: Command, source: SessionSource) -> bool:
    access = live.config().access.platforms.get(source.platform) or PlatformAccess()
    return scope_of(source) in command.scopes and registry.decide(command, source=source, access=access).is_allowed
