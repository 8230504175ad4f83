"""`manage.py gateway access`: allowances and bans, beside the lists of the configuration."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from gateway_app.access import rules
from gateway_app.access.rules import Removal
from gateway_app.access.standing import because
from gateway_app.management.operator import operator
from gateway_app.models import AccessRule
from gateway_app.models.access import Effect, SubjectKind

NAME = "access"
HELP = """\
Lets people and chats in, bans them, and takes either back. Each change is written into the audit.

A ban beats every allowance, also those of the configuration. Changes hold in every process within two seconds.

  manage.py gateway access list                               the rules in force
  manage.py gateway access allow telegram 987654321 --note "Ann, until her trial ends" --days 14
  manage.py gateway access allow telegram --chat=-100123      everybody in this group
  manage.py gateway access deny any 987654321                 a ban on every platform
  manage.py gateway access remove '#12'                       takes rule 12 back
"""
EVERY_PLATFORM = "any"
LISTED = 500
"""Rules that `list` prints; the admin pages through all."""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("what", choices=["list", "allow", "deny", "remove"])
    parser.add_argument("platform", nargs="?", default="", help="such as telegram, or any; for remove the rule, as #12")
    parser.add_argument("user", nargs="?", default="", help="the person's id on the platform; * is everybody")
    parser.add_argument("--chat", default="", help="the id of a group instead of a person; * is every group")
    parser.add_argument("--name", default="", help="for people to read; it decides nothing")
    parser.add_argument("--note", default="", help="why, for whoever looks at the rule later")
    parser.add_argument("--days", type=float, help="how long it holds; without it for ever")
    parser.add_argument("--reason", default="", help="for the audit")


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    try:
        _DO[options["what"]](io, options)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None


def _list(io: BaseCommand, options: dict[str, Any]) -> None:
    rows = AccessRule.objects.filter(is_active=True).order_by("platform", "effect", "subject", "subject_id")
    if options["platform"]:
        rows = rows.filter(platform__in=[_platform(options), ""])
    for row in rows[:LISTED]:
        end = f"  until {row.expires_at:%Y-%m-%d %H:%M} UTC" if row.expires_at else ""
        words = "  ".join(filter(None, (row.name, row.note, f"({row.origin})")))
        place = row.platform or "every platform"
        io.stdout.write(
            f"#{row.pk}  {row.effect} {row.get_subject_display()} {row.subject_id} on {place}{end}  {words}"
        )
    total = rows.count()
    io.stdout.write(
        f"{total} {'rule' if total == 1 else 'rules'} in force." + (" The first are shown." * (total > LISTED))
    )


def _put(io: BaseCommand, options: dict[str, Any]) -> None:
    if bool(options["user"]) == bool(options["chat"]) or not options["platform"]:
        raise CommandError(
            f"Name a platform, and a person's id or --chat: gateway access {options['what']} telegram 987654321"
        )
    put = rules.put(
        effect=Effect(options["what"]),
        platform=_platform(options),
        subject=SubjectKind.CHAT if options["chat"] else SubjectKind.USER,
        subject_id=options["chat"] or options["user"],
        by=operator(),
        name=options["name"],
        note=options["note"],
        expires_at=_end(options["days"]),
        reason=options["reason"],
    )
    became = "is new" if put.is_new else "was changed" if put.is_changed else "was in force already, just so"
    io.stdout.write(f"Rule #{put.rule.pk} {became}: {put.rule}.")


def _remove(io: BaseCommand, options: dict[str, Any]) -> None:
    found = re.fullmatch(r"#?([0-9]{1,18})", options["platform"])
    if not found:
        raise CommandError(
            f"The rule is {options['platform']!r}; allowed: its number as `list` prints it, such as #12."
        )
    removal = rules.remove(rule_id=int(found[1]), by=operator(), reason=options["reason"])
    if not removal.removed:
        raise CommandError(f"Rule #{found[1]} is not in force (any more).")
    io.stdout.write(f"Took rule #{found[1]} back: {removal.removed[0]}.")
    warn_of_allowances(io, removal)


def warn_of_allowances(io: BaseCommand, removal: Removal) -> None:
    """Says what lets the person in although something was taken back."""
    for decision in removal.standing.allowing if removal.standing else ():
        io.stdout.write(io.style.WARNING(f"They are still let in, by {because(decision)}."))


def _platform(options: dict[str, Any]) -> str:
    return "" if options["platform"] == EVERY_PLATFORM else str(options["platform"])


def _end(days: float | None) -> datetime | None:
    if days is None:
        return None
    if not 0 < days <= 36_500:
        raise CommandError(f"--days is {days:g}; allowed: more than 0 and at most 36500.")
    return timezone.now() + timedelta(days=days)


_DO = {"list": _list, "allow": _put, "deny": _put, "remove": _remove}
