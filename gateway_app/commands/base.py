"""The contract of a slash command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway_app.access.command_access import CommandDecision, Scope
from gateway_app.access.decision import Decision
from gateway_app.lanes import Claim
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
    """A slash command.

    `run(call)` returns the reply, Markdown that is never empty, or the `Effect` that makes it. It runs once the
    session's earlier messages are answered, and holds up its later ones for TURN_TIMEOUT_SECONDS at most. Database work
    goes through `in_database()`. A worker may die before the reply is committed, and the next one runs the command
    again: whatever `run` itself changes must be safe to change twice. What it raises is tried again, and in the end a
    dead letter, as for any turn.
    """

    name: str
    """A letter and then letters, digits, `_` or `-`; in lower case, at most 32 in all."""
    summary: str
    """One line for /help, in the third person: what it does."""
    run: Callable[[Call], Awaitable[str | Effect]]
    aliases: tuple[str, ...] = ()
    scopes: frozenset[Scope] = frozenset(Scope)
    """Where it works."""
