"""`manage.py gateway`: what an operator asks and decides, one subcommand for each subject."""

from __future__ import annotations

from collections.abc import Mapping

from gateway_app.management.gateway import Subcommand, subcommands
from gateway_app.management.subcommands import SubcommandsCommand


class Command(SubcommandsCommand):
    help = "Asks and decides about the running gateway. Each subcommand has a --help of its own."

    def subcommands(self) -> Mapping[str, Subcommand]:
        return subcommands()
