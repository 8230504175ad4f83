"""The contract of a slash command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway_app.access.command_access import CommandDecision, Scope
from gateway_app.access.decision import Decision
from gateway_app.lanes import Claim
from gateway_app.models.inbox import BusyMode
from gateway_app.sessions.source import SessionContext, SessionSource


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
class Command:
    """A slash command, which has either `run` or `answer`. Raises ValueError where it has both, or neither.

    `run(call)` returns the reply, Markdown that is never empty, or the `Effect` that makes it. It runs once the
    session's earlier messages are answered, and holds up its later ones for TURN_TIMEOUT_SECONDS at most. Database work
    goes through `in_database()`. A worker may die before the reply is committed, and the next one runs the command
    again: whatever `run` itself changes must be safe to change twice. What it raises is tried again, and in the end a
    dead letter, as for any turn.

    `answer(call)` makes it a control command, which waits for nothing. It returns the reply within the transaction that
    accepts the message and holds the session's lane: what it changes, the reply and the message commit together, once.
    It only asks the database; it is quick, and raises nothing but `django.db.Error`.
    """

    name: str
    """A letter and then letters, digits, `_` or `-`; in lower case, at most 32 in all."""
    summary: str
    """One line for /help, in the third person: what it does."""
    run: Callable[[Call], Awaitable[str | Effect]] | None = None
    answer: Callable[[Call], str] | None = None
    takes: BusyMode | None = None
    """Of a control command: what follows its name is a message, which is taken in this mode."""
    aliases: tuple[str, ...] = ()
    leaves: bool = False
    """It leaves what the conversation is at, so that a turn that waits for the person's answer ends for it."""
    scopes: frozenset[Scope] = frozenset(Scope)
    """Where it works."""

    def __post_init__(self) -> None:
        if (self.run is None) == (self.answer is None):
            raise ValueError(f"/{self.name} needs either `run` or `answer`.")

    @property
    def is_control(self) -> bool:
        """Whether it never waits behind a running turn."""
        return self.answer is not None
