"""`manage.py gateway config`: the configuration in force."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_app.config import live, report

NAME = "config"
HELP = """\
Prints every setting: its value, where it comes from, and its default.

Secrets are only said to be set. Settings are named by their variable or by their key in config.yaml; a
beginning names all that begin so.

  manage.py gateway config                             all of them
  manage.py gateway config TELEGRAM_ALLOWED_USERS      one
  manage.py gateway config platforms.telegram limits   two groups
  manage.py gateway config --json                      for programs
"""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("names", nargs="*", metavar="name", help="a variable, a key, or the beginning of either")
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    try:
        rows = report.rows(live.config(), names=options["names"])
    except LookupError as error:
        raise CommandError(str(error.args[0])) from None
    if options["json"]:
        io.stdout.write(json.dumps([row.to_json() for row in rows], indent=2, ensure_ascii=False))
        return
    for row in rows:
        key = f"  ({row.key})" if row.key else ""
        io.stdout.write(f"{row.variable}{key}\n    {row.value}\n    from {row.origin}; default: {row.default}")
