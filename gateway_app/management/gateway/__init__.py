"""The subcommands of `manage.py gateway`, one module each.

A module has `NAME` (the word on the command line), `HELP` (what it is for, with examples; the first line stands in the
list), `add_arguments(parser)` and `handle(io, options)`. `io` is the command: `io.stdout`, `io.stderr` and `io.style`
print. `options` are the parsed arguments by name. An error that the person can mend is a `CommandError`.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any, Protocol, cast

from django.core.management.base import BaseCommand, CommandParser


class Subcommand(Protocol):
    """What a module here has."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: CommandParser) -> None: ...

    def handle(self, io: BaseCommand, options: dict[str, Any]) -> None: ...


@functools.cache
def subcommands() -> dict[str, Subcommand]:
    """Every subcommand by its name, sorted."""
    names = (found.name for found in pkgutil.iter_modules(__path__) if not found.ispkg)
    modules = [cast("Subcommand", importlib.import_module(f"{__name__}.{name}")) for name in names]
    return {module.NAME: module for module in sorted(modules, key=lambda module: module.NAME)}
