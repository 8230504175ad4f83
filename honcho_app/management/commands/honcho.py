"""`manage.py honcho`: what an operator asks and decides about memory, one subcommand for each subject."""

from __future__ import annotations

from collections.abc import Mapping

from gateway_app.management.gateway import Subcommand
from gateway_app.management.subcommands import SubcommandsCommand
from honcho_app.management.honcho import flushes, forget, sessions, status


class Command(SubcommandsCommand):
    help = "Asks and decides about memory. Each subcommand has a --help of its own."

    def subcommands(self) -> Mapping[str, Subcommand]:
        return {module.NAME: module for module in (flushes, forget, sessions, status)}
