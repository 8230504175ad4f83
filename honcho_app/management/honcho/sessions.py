"""`manage.py honcho sessions`: which session on the Honcho server is whose."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway_app.models import Session
from gateway_app.sessions.source import ChatType, SessionSource
from honcho_app import configuration, generations, names

NAME = "sessions"
HELP = """\
Shows which session and which peer on the Honcho server the gateway's open sessions stand for.

Names on the server are a readable beginning and a hash of the whole key, so that two keys never share one.

  manage.py honcho sessions                       the newest
  manage.py honcho sessions telegram              of one platform
  manage.py honcho sessions telegram 987654321    of one person there
"""
SHOWN = 100


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("platform", nargs="?", default="", help="such as telegram")
    parser.add_argument("user", nargs="?", default="", help="the person's id on the platform")


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    config = configuration.live()
    rows = Session.objects.filter(ended_at=None)
    if options["platform"]:
        rows = rows.filter(platform=options["platform"])
    if options["user"]:
        rows = rows.filter(user_id=options["user"])
    found = list(rows.order_by("-pk")[:SHOWN])
    for row in found:
        who = SessionSource(
            platform=row.platform, account=row.account, chat_id=row.chat_id, chat_type=ChatType(row.chat_type),
            user_id=row.user_id,
        )  # fmt: skip
        name = names.session_name(row.session_key, generation=generations.generation(row.session_key))
        peer = names.peer_name(who, config) if row.user_id else "each by their own"
        io.stdout.write(
            f"{row.session_key}  session {name}  peer {peer}  workspace {names.workspace_name(who, config)}"
        )
    io.stdout.write(f"{len(found) or 'No'} {'session is' if len(found) == 1 else 'sessions are'} shown.")
