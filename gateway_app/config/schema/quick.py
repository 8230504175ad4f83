from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import model_validator

from gateway_app.config.entries import Entry, reader
from gateway_app.config.errors import Wrong
from gateway_app.config.kinds import Flag, Kind, Number, Text, Word
from gateway_app.config.setting import Section, setting

QUICK_WORDS = "mapping of names to `{type: exec, command: …}` or `{type: alias, target: …}`"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def _read_name(value: Any) -> str:
    name = str(value).strip().lower().removeprefix("/")
    if not NAME.fullmatch(name):
        raise Wrong("names of at most 32 letters, digits, - and _, with a letter first")
    return name


class QuickCommand(Entry):
    """One command of your own. A command that comes with the gateway keeps its name."""

    name: Annotated[str, Kind("text", _read_name)]
    type: Annotated[Literal["exec", "alias"], Word] = "exec"
    """`exec` runs a program on the worker's machine, `alias` is short for another slash command."""
    command: Text = ""
    """For `exec`: what the shell runs. What a person writes behind the name is `$1`, `$2` and so on, and no part of
    the command itself; put these in quotes."""
    target: Text = ""
    """For `alias`: the command that it is short for, also with arguments, such as `/model gpt-5-nano`."""
    description: Text = ""
    """What /commands and menus say of it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.command) != (self.type == "exec") or bool(self.target) != (self.type == "alias"):
            raise Wrong("command with type exec, and target with type alias")
        return self

    @property
    def summary(self) -> str:
        return f"{self.name} ({self.type})"


Quick = Annotated[tuple[QuickCommand, ...], Kind(QUICK_WORDS, reader(QuickCommand, words=QUICK_WORDS))]


class QuickCommands(Section):
    heading = "Quick commands"

    commands: Quick = setting("HERMES_QUICK_COMMANDS", (), key="quick_commands", is_live=True)
    """Slash commands of your own, by their names: no model is asked."""
    is_executing: Flag = setting("HERMES_QUICK_COMMANDS_EXEC", False, key="quick_commands_exec", is_live=True)
    """Lets quick commands of type `exec` run. Off: there are none, since whoever may use one runs a program as the user
    that the worker runs as."""
    seconds: Number = setting(
        "HERMES_QUICK_COMMANDS_SECONDS", 30, key="quick_commands_seconds", least=0.1, most=300, is_live=True
    )
    """Longest that such a program may run; then it is killed with all that it started."""
