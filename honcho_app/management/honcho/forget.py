"""`manage.py honcho forget`: has a person's memory forgotten."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_app.management.operator import operator
from honcho_app import configuration, erasure
from honcho_app.errors import HonchoError

NAME = "forget"
HELP = """\
Has everything forgotten that memory knows of a person. Without --yes it only says what would go.

Here the person's notes go, and what waits to be written to Honcho. On the Honcho server the sessions go that nobody
else wrote in, all conclusions about the person, and their card. Messages that they wrote where others wrote too stay:
Honcho cannot delete single ones. Transcripts stay as well; no memory is made of them any more. It is written into the
audit.

  manage.py honcho forget telegram 987654321               what would go
  manage.py honcho forget telegram 987654321 --yes         forgets it, and waits until Honcho has
  manage.py honcho forget telegram 987654321 --yes --reason "asked by mail on 2 May"

Honcho erases some time after it said so. What it still shows after --wait seconds is named; run it again then.

Exit codes: 0 forgotten, or nothing asked for; 1 not, or not wholly, with what is left.
"""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("platform", help="such as telegram")
    parser.add_argument("user", help="the person's id on the platform")
    parser.add_argument("--yes", action="store_true", help="do it")
    parser.add_argument("--reason", default="", help="for the audit")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds until Honcho must have erased it; 30")


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    try:
        found = erasure.plan(platform=options["platform"], user_id=options["user"])
    except erasure.NotForgettable as error:
        raise CommandError(str(error)) from None
    if found.is_empty:
        raise CommandError(f"Nobody with the id {options['user']!r} has written on {options['platform']!r}.")
    for line in erasure.shown(found):
        io.stdout.write(line)
    if not options["yes"]:
        io.stdout.write("Nothing was changed. With --yes it is forgotten.")
        return
    erasure.forget_here(found, by=operator(), reason=options["reason"])
    io.stdout.write("Forgotten here, and written into the audit.")
    if not configuration.live().is_active:
        return
    try:
        left = erasure.forget_there(found, seconds=options["wait"])
    except HonchoError as error:
        raise CommandError(f"Not forgotten by Honcho: {error} Run this again.") from None
    if left:
        raise CommandError(f"Honcho still shows {'; '.join(left)}. Run this again.")
    io.stdout.write(io.style.SUCCESS("Honcho shows nothing of it any more."))
