"""`manage.py gateway pairing`: people who wrote, were unknown, and got a code."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_app import clock
from gateway_app.access import pairing, rules
from gateway_app.access.pairing_errors import named
from gateway_app.access.standing import because
from gateway_app.duration import duration
from gateway_app.management.gateway.access import warn_of_allowances
from gateway_app.management.operator import operator

NAME = "pairing"
HELP = """\
Lets in people who wrote to the agent, were unknown, and got a pairing code.

Whoever was given a code tells it to you, by a way on which you know them. Case, spaces and hyphens in it do not
matter. A code is good for one hour, and five wrong ones lock the platform for one hour.

  manage.py gateway pairing list                            who waits
  manage.py gateway pairing approve telegram ABCD2345       lets in who has this code; they are told
  manage.py gateway pairing approve '#12'                   the same by the number that `list` prints
  manage.py gateway pairing deny '#12' --reason "who?"      turns them down; they are not told
  manage.py gateway pairing revoke telegram 987654321       takes back what lets this person in
  manage.py gateway pairing clear-pending telegram          drops all that wait, of every platform if none is named

Exit codes: 0 done, 1 not done, with the reason.
"""
NUMBER = re.compile(r"#?([0-9]{1,18})")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("what", choices=list(_DO))
    parser.add_argument("whom", nargs="*", help="a platform and a code or an id, or a request's number, as #12")
    parser.add_argument("--reason", default="", help="for the audit, where something is denied or taken back")


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    try:
        _DO[options["what"]](io, options["whom"], options["reason"])
    except pairing.PairingError as error:
        raise CommandError(str(error)) from None
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None


def _list(io: BaseCommand, whom: list[str], reason: str) -> None:
    if len(whom) > 1:
        raise _wrong("list", "list, or list telegram")
    chosen = [pairing.checked_platform(platform) for platform in whom]
    found, now = list(pairing.pending(*chosen)), clock.read()
    for row in found:
        age = duration((now - row.requested_at).total_seconds())
        name = f"  {row.user_name}" if row.user_name else ""
        io.stdout.write(
            f"#{row.pk}  {row.platform} {row.user_id}{name}  {age} ago, first message {row.message_chars:,} characters"
        )
    for platform in chosen or pairing.platforms():
        if until := pairing.locked_until(platform):
            io.stdout.write(io.style.WARNING(f"Pairing on {platform} is locked until {until:%Y-%m-%d %H:%M} UTC."))
    io.stdout.write(f"{len(found) or 'No'} {'request waits' if len(found) == 1 else 'requests wait'}.")


def _approve(io: BaseCommand, whom: list[str], reason: str) -> None:
    number = _number(whom)
    if number is not None:
        found = pairing.approve(by=operator(), request_id=number)
    elif len(whom) > 1:
        # A code may be written in groups.
        found = pairing.approve(by=operator(), platform=whom[0], code=" ".join(whom[1:]))
    else:
        raise _wrong("approve", "approve telegram ABCD2345, or approve '#12'")
    io.stdout.write(f"Let {named(found)} in. They are told on {found.platform}.")


def _deny(io: BaseCommand, whom: list[str], reason: str) -> None:
    number = _number(whom)
    if number is None:
        raise _wrong("deny", "deny '#12', with the number that `list` prints")
    found = pairing.deny(request_id=number, by=operator(), reason=reason)
    io.stdout.write(f"Denied {named(found)}.")


def _revoke(io: BaseCommand, whom: list[str], reason: str) -> None:
    if len(whom) != 2:
        raise _wrong("revoke", "revoke telegram 987654321, with the person's id on the platform")
    removal = rules.revoke(platform=whom[0], user_id=whom[1], by=operator(), reason=reason)
    for rule in removal.removed:
        io.stdout.write(f"Took rule #{rule.pk} back: {rule}.")
    if not removal.removed:
        io.stdout.write(f"No rule names {whom[1]} on {whom[0]}, so nothing was taken back.")
    warn_of_allowances(io, removal)
    if removal.standing and not removal.standing.allowing:
        io.stdout.write(f"They are not let in any more: {because(removal.standing.direct)}.")


def _clear(io: BaseCommand, whom: list[str], reason: str) -> None:
    if len(whom) > 1:
        raise _wrong("clear-pending", "clear-pending, or clear-pending telegram")
    count = pairing.clear(by=operator(), platform="".join(whom))
    io.stdout.write(f"Dropped {count} {'request' if count == 1 else 'requests'}.")


def _number(whom: list[str]) -> int | None:
    found = NUMBER.fullmatch(whom[0]) if len(whom) == 1 else None
    return int(found[1]) if found else None


def _wrong(what: str, allowed: str) -> CommandError:
    return CommandError(f"`{what}` is not told whom it is about in a way that it knows; allowed: {allowed}.")


_DO: dict[str, Callable[[BaseCommand, list[str], str], None]] = {
    "list": _list, "approve": _approve, "deny": _deny, "revoke": _revoke, "clear-pending": _clear
}  # fmt: skip
