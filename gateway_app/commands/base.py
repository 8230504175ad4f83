"""The contract of a slash command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway_app.access.command_access import CommandDecision, Scope
from gateway_app.access.decision import Decision
from gateway_app.lanes import Claim
from gateway_app.models.inbox import BusyMode
from gateway_app.sessions.source import SessionContext, SessionSource


class Group(StrEnum):
    """What commands are listed under, in the order of their members."""

    CONVERSATION = "Conversations"
    WORK = "While I work"
    CHOICES = "How I answer"
    FACTS = "What there is to know"
    OTHER = "Further commands"
    QUICK = "Quick commands"


Begin = Callable[[], Awaitable[bool]]


async def always() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a command: all that the command may know of whose it is, and what was decided about it."""

    context: SessionContext
    source: SessionSource
    name: str
    """As it was typed, in lower case: the command's own name, or an alias."""
    arguments: str
    admission: Decision
    """Why the person may speak here."""
    decision: CommandDecision
    """Why they may run this command."""
    permitted: Sequence[Command]
    """The commands that they may run here, by name."""
    begin: Begin = always
    """Records that what cannot be done twice begins now; false where it had begun before, and a worker died since."""
    place: int | None = None
    """Of a control command: its place in the session's lane. What has a lower one came before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A command's session while the transaction that closes its turn holds the lane: nothing else happens in it."""

    claim: Claim
    turn_id: int
    """The command's own."""
    session_pk: int


Effect = Callable[[Held], str]
"""What a command changes, exactly once: it runs in the transaction that commits the reply, and returns the reply.

It is synchronous, takes no longer than a few statements, and keeps nothing outside of the database: where the commit
fails it runs again. Empty where the answer comes by another way.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The reply of a control command that also put something into another session's lane."""

    text: str
    rings: tuple[SessionContext, ...] = ()
    """Sessions to be rung for once it has committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A slash command, which has either `run` or `answer`. Raises ValueError where it has both, or neither.

    `run(call)` returns the reply, Markdown that is never empty, or the `Effect` that makes it. It runs once the
    session's earlier messages are answered, and holds up its later ones for TURN_TIMEOUT_SECONDS at most. Database work
    goes through `in_database()`. A worker may die before the reply is committed, and the next one runs the command
    again: whatever `run` itself changes must be safe to change twice. What it raises is tried again, and in the end a
    dead letter, as for any turn.

    `answer(call)` makes it a control command, which waits for nothing. It returns the reply within the transaction that
    accepts the message and holds the session's lane: what it changes, the reply and the message commit together, once.
    It only asks the database; it is quick, and raises nothing but `django.db.Error`. Where it changes something in
    another lane, `reaches` names that, so that it is locked before any other.
    """

    name: str
    """A letter and then letters, digits, `_` or `-`; in lower case, at most 32 in all."""
    summary: str
    """One line for /commands and menus, in the third person: what it does."""
    group: Group = Group.OTHER
    usage: str = ""
    """What is written behind the name: `<this>` is put in by the person, and what stands in `[]` may be left out."""
    run: Callable[[Call], Awaitable[str | Effect]] | None = None
    answer: Callable[[Call], str | Answer] | None = None
    reaches: Callable[[SessionSource, str], str] | None = None
    """Of a control command: the session key of another lane that it changes, by its arguments; empty for none."""
    takes: BusyMode | None = None
    """Of a control command: what follows its name is a message, which is taken in this mode."""
    aliases: tuple[str, ...] = ()
    leaves: bool = False
    """It leaves what the conversation is at, so that a turn that waits for the person's answer ends for it."""
    scopes: frozenset[Scope] = frozenset(Scope)
    """Where it works."""
    before: str = ""
    """What is put before the arguments that a person gives, where it is short for another command with some."""
    for_admins: bool = False
    """No list lets others run it. Where no admins are named everybody may, as with all commands."""

    def __post_init__(self) -> None:
        if (self.run is None) == (self.answer is None):
            raise ValueError(f"/{self.name} needs either `run` or `answer`.")

    @property
    def is_control(self) -> bool:
        """Whether it may run while a turn does: it never waits behind one."""
        return self.answer is not None

    def given(self, arguments: str) -> str:
        """The arguments that it gets where a person gives these."""
        return f"{self.before} {arguments}".strip()

    @property
    def form(self) -> str:
        """How it is written, such as `/undo [<number>]`."""
        return f"/{self.name} {self.usage}".rstrip()
