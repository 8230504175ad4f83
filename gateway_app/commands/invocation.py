"""Reads commands out of messages: `/name@bot arguments`. Pure; never raises."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway_app.commands import registry
from gateway_app.sessions.source import ChatType, SessionSource

# ASCII is spelt out: with IGNORECASE a Kelvin sign would be a k. A slash right after the name makes it a path.
TYPED = re.compile(r"/([A-Za-z][A-Za-z0-9_-]{0,31})(?:@([A-Za-z0-9_]{1,64}))?(?=\s|\Z)")


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command as somebody typed it; whether there is such a command is another question."""

    name: str
    """In lower case, without the slash."""
    bot: str
    """The bot that it names, as typed; empty where it names none."""
    arguments: str
    """What follows, without the blanks around it."""


def parse(text: str) -> Invocation | None:
    """The command that `text` is; None for plain text, a lone slash, or a path."""
    typed = text.lstrip()
    found = TYPED.match(typed)
    if found is None:
        return None
    return Invocation(found[1].lower(), found[2] or "", typed[found.end() :].strip())


def invoked(text: str, *, source: SessionSource) -> Invocation | None:
    """The command that a message is for us; None for what the agent is to read.

    In a direct message all is for us, and an unknown command gets an answer that says so. Elsewhere other bots
    listen too: a command that we do not know, or that names a bot (an adapter takes our own name off), is not
    answered by the gateway. A notice for each would disturb the chat, and two bots could go on answering each other.
    """
    found = parse(text)
    if found is None or source.chat_type is ChatType.DM:
        return found
    is_ours = not found.bot and registry.in_force().find(found.name) is not None
    return found if is_ours else None
