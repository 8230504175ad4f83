"""`manage.py honcho`: what an operator asks and decides about memory, one subcommand for each subject."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from honcho_app.management.honcho import flushes, forget, sessions, status

SUBCOMMANDS = {module.NAME: module for module in (flushes, forget, sessions, status)}


class Command(BaseCommand):
    help = "Asks and decides about memory. Each subcommand has a --help of its own."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        found = parser.add_subparsers(dest="subcommand", metavar="subcommand", required=True)
        for name, module in SUBCOMMANDS.items():
            summary, _, _ = module.HELP.strip().partition("\n")
            subparser = found.add_parser(
                name, help=summary, description=module.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
            )
            module.add_arguments(subparser)

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        SUBCOMMANDS[subcommand].handle(self, options)
