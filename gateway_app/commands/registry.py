"""The slash commands that there are: every module of this package that has a `COMMAND`."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterable

import gateway_app.commands as package
from gateway_app.access.command_access import CommandDecision, may_run, scope_of
from gateway_app.config import live
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.config.schema.quick import QuickCommand
from gateway_app.sessions.source import SessionSource

from . import quick
from .base import Command


class Registry:
    """Commands by their names and aliases. Raises ValueError where two share one."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self.commands = tuple(sorted(commands, key=lambda command: command.name))
        self._found: dict[str, Command] = {}
        for command in self.commands:
            for name in (command.name, *command.aliases):
                if other := self._found.get(name):
                    raise ValueError(f"/{name} is both {other.name} and {command.name}; each name is one command's.")
                self._found[name] = command

    def find(self, name: str) -> Command | None:
        """The command that goes by this name, or has it as an alias."""
        return self._found.get(name)

    def permitted(self, source: SessionSource, access: PlatformAccess) -> list[Command]:
        """The commands that work in the chat of `source` and that whoever wrote it may run, by name."""
        return [
            command
            for command in self.commands
            if scope_of(source) in command.scopes and decide(command, source=source, access=access).is_allowed
        ]


def decide(command: Command, *, source: SessionSource, access: PlatformAccess) -> CommandDecision:
    """Whether whoever wrote `source` may run the command, wherever it works."""
    return may_run(source, command.name, access, aliases=command.aliases, for_admins=command.for_admins)


def in_force() -> Registry:
    """The shipped commands, and the quick commands of the configuration in force."""
    config = live.config().quick
    return _joined(shipped(), config.commands, is_executing=config.is_executing) if config.commands else shipped()


@functools.lru_cache(maxsize=8)
def _joined(found: Registry, entries: tuple[QuickCommand, ...], *, is_executing: bool) -> Registry:
    return Registry([*found.commands, *quick.made(entries, shipped=found.commands, is_executing=is_executing)])


@functools.cache
def shipped() -> Registry:
    """The commands of this process."""
    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__) if not found.ispkg)
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return Registry(module.COMMAND for module in modules if hasattr(module, "COMMAND"))
