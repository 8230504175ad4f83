"""`manage.py honcho flushes`: what is to be saved of sessions that were put aside."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway_app import clock
from gateway_app.duration import duration
from gateway_app.models import MemoryFlush
from gateway_app.models.flush import FlushState
from gateway_app.sessions import flushes

NAME = "flushes"
HELP = """\
Shows the flushes of memory that are not done, and has those tried again that were given up.

A session that is reset, left for another one, or ended by the clock is gone through once more by the agent, which saves
what is worth remembering. That is tried three times.

  manage.py honcho flushes              what waits, runs, or was given up
  manage.py honcho flushes --all        the newest that are done as well
  manage.py honcho flushes --retry      has all that were given up tried again
  manage.py honcho flushes --retry 12   only this one

Exit codes: 0 shown or done.
"""
SHOWN = 100
"""Rows that are printed; the admin pages through all."""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--all", action="store_true", help="show the newest that are done as well")
    parser.add_argument("--retry", nargs="*", type=int, metavar="number", help="try those again; all without a number")


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    open_ones = MemoryFlush.objects.exclude(state=FlushState.DONE)
    if options["retry"] is not None:
        failed = open_ones.filter(state=FlushState.FAILED).values_list("pk", flat=True)
        retried = flushes.retry(ids=options["retry"] or list(failed))
        io.stdout.write(f"{len(retried)} will be tried again{': ' + _numbers(retried) if retried else ''}.")
        return
    rows = MemoryFlush.objects.all() if options["all"] else open_ones
    now = clock.read()
    for row in rows.select_related("session").order_by("-pk")[:SHOWN]:
        age = duration((now - row.created_at).total_seconds())
        outcome = f", {row.get_outcome_display()}" if row.outcome else ""
        error = f"  {row.error}" if row.error else ""
        tried = f"  attempts: {row.attempts}" if row.attempts else ""
        io.stdout.write(
            f"#{row.pk}  {row.get_state_display()}{outcome}  {row.session.session_id} of {row.honcho_session_key}"
            f"  {row.get_reason_display()}, {age} ago{tried}{error}"
        )
    count = open_ones.count()
    io.stdout.write(f"{count or 'No'} {'flush is' if count == 1 else 'flushes are'} not done.")


def _numbers(ids: list[int]) -> str:
    return ", ".join(f"#{pk}" for pk in ids)
