"""`/sessions`: the conversations that one can go back to from here."""

from __future__ import annotations

from gateway_app.sessions import own, titles
from gateway_app.sessions.own import Listed
from gateway_app.worker.database import in_database

from .base import Call, Command, Group

USAGE = "`/sessions` lists your conversations here, and `/sessions 2` the next page of them."
MOST_DIGITS = 4


async def show(call: Call) -> str:
    """A page of the conversations that belong to this place and person, newest first, with numbers for /resume."""
    wanted = call.arguments or "1"
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= MOST_DIGITS and int(wanted)):
        return USAGE
    page = int(wanted)
    listed, has_more = await in_database(own.listing, session_key=call.context.session_key, page=page)
    if not listed:
        return f"There is no page {page}. {USAGE}"
    lines = [line(entry) for entry in listed]
    more = [f"`/sessions {page + 1}` lists older ones."] if has_more else []
    return "\n".join([*lines, "", "`/resume <number>` goes back to one.", *more])


def line(entry: Listed) -> str:
    """A session in a list."""
    session = entry.session
    title = f"{titles.shown(session)}, " if session.title else ""
    here = " ← you are here" if session.ended_at is None else ""
    return f"{entry.number}. {title}begun {session.started_at:%Y-%m-%d %H:%M} UTC, `{session.session_id}`{here}"


COMMAND = Command(
    name="sessions", summary="lists your conversations here.", group=Group.CONVERSATION, usage="[<page>]", run=show
)
