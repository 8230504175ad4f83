"""Control commands, and answers to what a parked turn asks: found where messages are accepted, and done there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway_app.access.command_access import scope_of
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.config import live
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.models import Question
from gateway_app.models.inbox import BusyMode
from gateway_app.models.question import QuestionDoor, QuestionKind
from gateway_app.questions import answering, words
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
class Clarification:
    """A message that answers what the agent asked."""

    question: Question
    text: str
    source: SessionSource

    def reply(self, *, context: SessionContext, place: int) -> Answer:
        """Gives the answer. Nothing is said: the turn goes on. Must run in a transaction that holds the lane."""
        answering.answer(self.question, text=self.text, by=self.source.participant, door=QuestionDoor.CHAT)
        return Answer(text="")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a message is taken: its text and its mode, and what is done about it at once."""

    text: str
    mode: BusyMode
    control: Control | Clarification | None = None
    waits: bool = True
    """For a turn. A command that only controls, or an answer, is done with once it is taken."""
    leaves: bool = False
    """A turn that waits for an answer ends for it."""

    @property
    def reaches(self) -> str:
        """The session key of another lane that it changes; empty for none."""
        return self.control.reaches if isinstance(self.control, Control) else ""


def read(text: str, *, source: SessionSource, asked: list[Question] | None = None) -> Reading:
    """How a message of `source` is taken, by the configuration in force now.

    `asked` are the questions that the session's turn waits with; one that the message answers is taken out.
    """
    found = invoked(text, source=source)
    if found is None:
        return (asked and _answer(text, source=source, asked=asked)) or Reading(text, busy.mode_of(source))
    command = registry.in_force().find(found.name)
    if command is None or not command.is_control:
        return Reading(text, BusyMode.COLLECT, leaves=command is not None and command.leaves)
    reading = Reading(text, BusyMode.COLLECT, Control(command, found, source), waits=False)
    message = command.given(found.arguments)
    if command.takes and message and _may_run(command, source):
        return replace(reading, text=message, mode=command.takes, waits=True)
    return reading


def _answer(text: str, *, source: SessionSource, asked: list[Question]) -> Reading | None:
    """What a plain message is to the oldest question that it can be meant for."""
    theirs = [question for question in asked if answering.is_theirs(question, source)]
    if not theirs:
        return None
    question = next((found for found in theirs if found.kind == QuestionKind.CLARIFY), theirs[0])
    if question.kind == QuestionKind.CLARIFY:
        asked.remove(question)
        return Reading(text, BusyMode.COLLECT, Clarification(question, text, source), waits=False)
    name, scope = words.decision(text)
    command = registry.shipped().find(name) if name else None
    if command is None or not _may_run(command, source):
        return None
    asked.remove(question)
    invocation = Invocation(name, "", f"{question.number} {scope}".strip())
    return Reading(text, BusyMode.COLLECT, Control(command, invocation, source), waits=False)


def _may_run(command: Command, source: SessionSource) -> bool:
    access = live.config().access.platforms.get(source.platform) or PlatformAccess()
    return scope_of(source) in command.scopes and registry.decide(command, source=source, access=access).is_allowed
