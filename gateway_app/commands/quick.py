"""Quick commands: an operator's own, out of the configuration. One is short for another command, or runs a program."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gateway_app import shell
from gateway_app.config import live
from gateway_app.config.schema.quick import QuickCommand
from gateway_app.redaction import redacted

from .base import Call, Command, Group

LONGEST_SHOWN = 3_500
"""Characters of a program's output in a reply: one message on every platform."""
MOST_ARGUMENTS = 100
LEFT_OFF = "I began to run /{name}, and something went wrong inside the gateway. Whether it took effect is unknown."


def made(entries: Iterable[QuickCommand], *, shipped: Iterable[Command], is_executing: bool) -> Iterator[Command]:
    """The commands that the entries make. What comes with the gateway is never replaced."""
    known = {name: command for command in shipped for name in (command.name, *command.aliases)}
    taken = set(known)
    for entry in entries:
        if entry.name in taken:
            continue
        taken.add(entry.name)
        if entry.type == "alias":
            yield _alias(entry, known)
        elif is_executing:
            run = functools.partial(execute, entry)
            summary = entry.description or "runs a program of the operator's."
            yield Command(name=entry.name, summary=summary, group=Group.QUICK, usage="[<arguments>]", run=run)


def _alias(entry: QuickCommand, known: dict[str, Command]) -> Command:
    word, _, given = entry.target.strip().partition(" ")
    target = known.get(word.removeprefix("/").lower())
    if target is None:
        return Command(
            name=entry.name,
            summary=entry.description or "leads nowhere.",
            group=Group.QUICK,
            run=functools.partial(_lead_nowhere, entry),
        )
    summary = entry.description or f"is short for {entry.target}."
    return replace(target, name=entry.name, aliases=(), summary=summary, group=Group.QUICK, before=given.strip())


async def _lead_nowhere(entry: QuickCommand, call: Call) -> str:
    return f"/{entry.name} is set up as short for `{entry.target}`, and there is no such command."


async def execute(entry: QuickCommand, call: Call) -> str:
    """Runs the program, once, and returns what it wrote: without secrets, and not too much of it."""
    if not await call.begin():
        return LEFT_OFF.format(name=entry.name)
    config = live.config()
    seconds = config.quick.seconds
    try:
        ended = await shell.run(
            entry.command,
            arguments=call.arguments.split()[:MOST_ARGUMENTS],
            folder=config.installation.home,
            seconds=seconds,
        )
    except OSError as error:
        return f"/{entry.name} could not be run: {error.strerror}."
    if ended.code is None:
        said = f"/{entry.name} took longer than {seconds:g} s and was stopped."
    elif ended.code:
        said = f"/{entry.name} failed, with code {ended.code}."
    else:
        said = "" if ended.output else f"/{entry.name} is done, and wrote nothing."
    output = shown(redacted(ended.output, config=config))
    return "\n".join(filter(None, (said, output)))


def shown(output: str) -> str:
    """A program's output as a block that it cannot end, cut to LONGEST_SHOWN; empty where it wrote nothing."""
    if not output:
        return ""
    plain = "".join(c for c in output if c.isprintable() or c in "\n\t").replace("```", "'''")
    cut = f"{plain[:LONGEST_SHOWN]}\n… ({len(plain) - LONGEST_SHOWN:,} characters more)"
    return f"```\n{plain if len(plain) <= LONGEST_SHOWN else cut}\n```"
