"""`manage.py gateway role`: what the accounts of the staff may do in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_app.access import roles
from gateway_app.access.roles import Role
from gateway_app.management.operator import operator

NAME = "role"
HELP = """\
Shows the roles of accounts, and changes them. Each change is written into the audit.

A viewer sees every page of the gateway. An approver also decides about pairings, and allows and revokes people. An
operator also writes rules and bans, replays dead letters, and gives roles to others. Superusers may do everything.

  manage.py gateway role                       who has which role
  manage.py gateway role ann                   what ann may do
  manage.py gateway role ann approver          gives ann this role in place of any other
  manage.py gateway role ann none --reason "left the company"
"""
NONE = "none"


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("user", nargs="?", default="", help="the account's user name")
    parser.add_argument("role", nargs="?", choices=[*Role, NONE], help="the role it gets; none takes all roles away")
    parser.add_argument("--reason", default="", help="for the audit")


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    if not options["user"]:
        for user in User.objects.filter(is_staff=True).order_by("username"):
            io.stdout.write(_said(user))
        return
    found = User.objects.filter(username=options["user"]).first()
    if found is None:
        names = ", ".join(User.objects.order_by("username").values_list("username", flat=True)[:20]) or "nobody yet"
        raise CommandError(f"There is no user {options['user']!r}; there are: {names}.")
    if options["role"] is None:
        io.stdout.write(_said(found))
        return
    wanted = [] if options["role"] == NONE else [options["role"]]
    try:
        roles.ensure_roles()
        is_changed = roles.change_role(user=found, roles=wanted, by=operator(), reason=options["reason"])
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    io.stdout.write(_said(found) if is_changed else f"Nothing had to be changed. {_said(found)}")


def _said(user: User) -> str:
    rights = roles.rights_of(user)
    words = ["superuser"] if rights.is_superuser else []
    words += sorted(rights.groups) or ([] if words else ["no role"])
    if rights.permissions:
        words.append(f"{len(rights.permissions)} permissions of its own")
    if not rights.is_active:
        words.append("inactive")
    return f"{user.get_username()}: {', '.join(words)}"
