"""`/help`. Telegram sends `/start` when a person opens the bot: that is their first look at us, so it says hello."""

from __future__ import annotations

from . import commands
from .base import Call, Command, Group

GREETING = "Hello! Write to me and I answer."


def show(call: Call) -> str:
    """The names of the commands that the person may run in this chat, or what one of them does."""
    if call.arguments and call.name != "start":
        return explain(call)
    lines = [f"- {group}: {', '.join(f'/{each.name}' for each in found)}" for group, found in commands.grouped(call)]
    listed = "\n".join(["Commands that you may use here:", *lines])
    if call.name == "start":
        return f"{GREETING}\n\n{listed}"
    more = "`/help <command>` explains one" + (
        ", and /commands all of them." if any(each.name == "commands" for each in call.permitted) else "."
    )
    return f"{listed}\n\n{more} Anything else is for the agent."


def explain(call: Call) -> str:
    """One command, by its name or an alias."""
    wanted = call.arguments.split()[0].removeprefix("/").lower()
    for command in call.permitted:
        if wanted in (command.name, *command.aliases):
            return commands.explained(command)
    plain = "".join(c for c in wanted if c.isalnum() or c in "-_")[:32]
    return f"You may use no command /{plain} here. /help lists those that you may."


COMMAND = Command(
    name="help",
    aliases=("start",),
    summary="shows the commands that you may use in this chat.",
    group=Group.FACTS,
    usage="[<command>]",
    answer=show,
)
