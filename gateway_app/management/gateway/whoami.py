"""`manage.py gateway whoami`: whether somebody may speak to the agent, and why."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_app.access import rules
from gateway_app.access.decision import Decision
from gateway_app.access.standing import because, standing
from gateway_app.models import Person
from gateway_app.models.access import SubjectKind

NAME = "whoami"
HELP = """\
Says whether a person may speak to the agent, and which rule decides it.

The person is named by the id that the platform gives them; the log of a denied message shows it. Names decide
nothing.

  manage.py gateway whoami telegram 987654321                 in a direct message, and in groups
  manage.py gateway whoami telegram 987654321 --chat=-100123  in this group
"""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("platform", help="such as telegram")
    parser.add_argument("user", help="the person's id on the platform")
    parser.add_argument("--alt", default="", help="the person's second, stable id, where the platform has one")
    parser.add_argument("--chat", default="", help="the id of the group that is asked about")


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    platform, user_id = options["platform"], options["user"]
    try:
        rules.check_subject(subject=SubjectKind.USER, platform=platform, subject_id=user_id)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    found = standing(platform=platform, user_id=user_id, user_id_alt=options["alt"], chat_id=options["chat"])
    person = Person.objects.filter(platform=platform, user_id=user_id).first()
    known = f", known as {person.name!r}" if person and person.name else ""
    io.stdout.write(f"{platform} {user_id}{known}")
    where = f"group {options['chat']}" if options["chat"] else "groups"
    for place, decision in (("direct messages", found.direct), (where, found.group)):
        io.stdout.write(f"  {place}: {_said(decision)}")


def _said(decision: Decision) -> str:
    end = f", until {decision.expires_at:%Y-%m-%d %H:%M} UTC" if decision.expires_at else ""
    return f"{'allowed' if decision.is_allowed else 'denied'} by {because(decision)}{end}"
