"""What one person used over a span of time: sums over sessions that are theirs, and over no other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, QuerySet

from gateway_app.models import InboundMessage, Session, TranscriptMessage, Turn

from . import usage
from .source import ChatType, SessionContext
from .usage import ASKED, Usage

MOST_CALLS = 10_000
"""Replies with tool calls that are looked at, the newest; more of them would hold up the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    messages: int
    """That the person wrote to the agent."""
    usage: Usage
    models: list[tuple[str, int]]
    """With the turns that each answered, most first."""
    tools: list[tuple[str, int]]
    """With their calls, most first."""


def of_person(context: SessionContext, *, since: datetime) -> Insights:
    """What the person of `context` used: in a direct message all that is theirs on the platform, elsewhere only what
    they asked in this session, since others read the answer.
    """
    turns = Turn.objects.filter(started_at__gte=since)
    written = TranscriptMessage.objects.filter(role="user", user_id=context.user_id, created_at__gte=since)
    if context.chat_type == ChatType.DM and context.user_id:
        own = Session.objects.filter(
            platform=context.platform, account=context.account, user_id=context.user_id
        ).values("pk")
        turns, written = turns.filter(session__in=own), written.filter(session__in=own)
    else:
        asked = InboundMessage.objects.filter(
            user_id=context.user_id, turn__session__session_id=context.session_id
        ).values("turn_id")
        turns = turns.filter(session__session_id=context.session_id, pk__in=asked)
        written = written.filter(session__session_id=context.session_id)
    models = turns.filter(ASKED).values("model").annotate(count=Count("id")).order_by("-count", "model")
    return Insights(
        messages=written.count(),
        usage=usage.sum_of(turns),
        models=[(row["model"], row["count"]) for row in models],
        tools=_tools(turns, since=since),
    )


def _tools(turns: QuerySet[Turn], *, since: datetime) -> list[tuple[str, int]]:
    found = (
        TranscriptMessage.objects.filter(
            turn__in=turns.values("pk"), role="assistant", tool_calls__isnull=False, created_at__gte=since
        )
        .order_by("-id")
        .values_list("tool_calls", flat=True)[:MOST_CALLS]
    )
    counts = Counter(str(call["function"]["name"]) for calls in found for call in calls or ())
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
