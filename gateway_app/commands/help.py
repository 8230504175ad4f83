"""`/help`. Telegram sends `/start` when a person opens the bot: that is their first look at us, so it says hello."""

from __future__ import annotations

from .base import Call, Command

GREETING = "Hello! Write to me and I answer."


def show(call: Call) -> str:
    """The commands that the person may run in this chat."""
    lines = [f"- /{command.name} {command.summary}" for command in call.permitted]
    listed = "\n".join(["Commands that you may use here:", *lines])
    return f"{GREETING}\n\n{listed}" if call.name == "start" else f"{listed}\n\nAnything else is for the agent."


COMMAND = Command(
    name="help", aliases=("start",), summary="shows the commands that you may use in this chat.", answer=show
)
