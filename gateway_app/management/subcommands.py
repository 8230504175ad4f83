"""A command that consists of subcommands, one module for each subject (`gateway_app.management.gateway.Subcommand`)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway_app.management.gateway import Subcommand


class SubcommandsCommand(BaseCommand):
    """Each subcommand has a --help of its own: `HELP`, whose first line is its summary."""

    requires_system_checks = []

    def subcommands(self) -> Mapping[str, Subcommand]:
        """The modules by the names of the subcommands."""
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        found = parser.add_subparsers(dest="subcommand", metavar="subcommand", required=True)
        for name, module in self.subcommands().items():
            summary, _, _ = module.HELP.strip().partition("\n")
            subparser = found.add_parser(
                name, help=summary, description=module.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
            )
            module.add_arguments(subparser)

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        self.subcommands()[subcommand].handle(self, options)
