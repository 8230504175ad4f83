"""`/insights`: what a person used in the last days, and what for. Their own, and nobody else's."""

from __future__ import annotations

from datetime import timedelta

from gateway_app import clock
from gateway_app.sessions import insights
from gateway_app.sessions.insights import Insights
from gateway_app.sessions.source import ChatType
from gateway_app.worker.database import in_database

from . import usage
from .base import Call, Command, Group

DAYS = 7
MOST_DAYS = 90
"""Older turns may have been taken out of the database."""
TOOLS_NAMED = 10
USAGE = (
    f"`/insights` shows what you used in the last {DAYS} days, and `/insights 30` in the last 30; at most {MOST_DAYS}."
)


async def show(call: Call) -> str:
    """Sums for the person. Where others can read them, they are of this conversation alone."""
    wanted = call.arguments or str(DAYS)
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 2 and 0 < int(wanted) <= MOST_DAYS):
        return USAGE
    days, source = int(wanted), call.source
    where = "here" if source.chat_type is not ChatType.DM else "in all your conversations"
    found = await in_database(_found, call, days)
    span = "the last day" if days == 1 else f"the last {days} days"
    return f"You {where} in {span}:\n{said(found)}"


def _found(call: Call, days: int) -> Insights:
    return insights.of_person(call.context, since=clock.read() - timedelta(days=days))


def said(found: Insights) -> str:
    """The sums as a list."""
    used = found.usage
    lines = [f"Messages: {found.messages:,}", f"Answers: {used.turns:,}", f"Tokens: {usage.tokens(used)}"]
    if cost := usage.cost(used):
        lines.append(f"Cost: {cost}")
    if found.models:
        lines.append(f"Models: {', '.join(f'`{name}` {count:,}' for name, count in found.models)}")
    if found.tools:
        named = [f"`{name}` {count:,}" for name, count in found.tools[:TOOLS_NAMED]]
        lines.append(f"Tools: {', '.join(named)}{', …' if len(found.tools) > TOOLS_NAMED else ''}")
    return "\n".join(f"- {line}" for line in lines)


COMMAND = Command(
    name="insights",
    summary="shows what you used in the last days: messages, tokens, cost, tools.",
    group=Group.FACTS,
    usage="[<days>]",
    run=show,
)
