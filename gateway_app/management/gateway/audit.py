"""`manage.py gateway audit`: what changed of access, by whom, and whether somebody tampered with the record."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_app.access import audit
from gateway_app.models import AuditEntry

NAME = "audit"
HELP = """\
Shows the audit of access, and proves that it is whole.

Every change of who may speak is one row, which the database lets nobody change or delete. Each row's hash covers the
row before it, so `verify` can name a row that somebody changed or took out behind the gateway's back. Note the head
that it prints somewhere else: a chain that was made anew as a whole has another one.

  manage.py gateway audit list              the newest rows
  manage.py gateway audit list --most 500   more of them
  manage.py gateway audit list --json       for programs
  manage.py gateway audit verify            exit code 1 if something is wrong
"""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("what", choices=["list", "verify"])
    parser.add_argument("--most", type=int, default=50, help="rows that are printed (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    if options["what"] == "verify":
        _verify(io)
        return
    if options["most"] < 1:
        raise CommandError(f"--most is {options['most']}; allowed: 1 or more.")
    rows = list(AuditEntry.objects.order_by("-pk")[: options["most"]])[::-1]
    if options["json"]:
        io.stdout.write(json.dumps([audit.as_json(row) for row in rows], indent=2))
        return
    for row in rows:
        io.stdout.write(
            f"#{row.pk}  {row.at:%Y-%m-%d %H:%M:%S}  {row.get_action_display()}: "
            + "  ".join(
                filter(None, (f"{row.platform} {row.subject}".strip(), f"by {row.actor} ({row.door})", row.reason))
            )
        )
    if not rows:
        io.stdout.write("Nothing has changed yet.")


def _verify(io: BaseCommand) -> None:
    verdict = audit.verify()
    for fault in verdict.faults:
        io.stderr.write(io.style.ERROR(fault))
    if verdict.faults:
        found = f"{len(verdict.faults)} {'fault' if len(verdict.faults) == 1 else 'faults'}"
        raise CommandError(f"The audit is not whole: {found} in {verdict.count} rows.", returncode=1)
    io.stdout.write(f"The audit is whole: {verdict.count} rows, head {verdict.head or 'none'}.")
