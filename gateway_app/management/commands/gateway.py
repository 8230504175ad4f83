"""`manage.py gateway`: what an operator asks and decides, one subcommand for each subject."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway_app.management.gateway import subcommands


class Command(BaseCommand):
    help = "Asks and decides about the running gateway. Each subcommand has a --help of its own."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        found = parser.add_subparsers(dest="subcommand", metavar="subcommand", required=True)
        for name, module in subcommands().items():
            summary, _, _ = module.HELP.strip().partition("\n")
            subparser = found.add_parser(
                name, help=summary, description=module.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
            )
            module.add_arguments(subparser)

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        subcommands()[subcommand].handle(self, options)
