"""`manage.py up`: everything on this machine, supervised."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway_app.fleet.console import Console
from gateway_app.fleet.run import status, up


class Command(BaseCommand):
    help = (
        "Runs the whole gateway on this machine until Ctrl-C: web, listener, workers and beat, with a broker, a"
        " database and a small model of its own where REDIS_URL, DATABASE_URL and OPENAI_* are not set."
        " Exit codes: 0 stopped, 1 something has to be put right first, 3 it is running already."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--status", action="store_true", help="only say whether it runs (exit code 0) or not (3), and where"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(status(Console()) if options["status"] else up(Console()))
