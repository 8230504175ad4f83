"""How much a session was used, and a person today: turns and tokens, summed up where somebody asks."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum

from gateway_app.config import live
from gateway_app.models import InboundMessage, Session, TranscriptMessage, Turn
from gateway_app.models.inbox import InboundState
from gateway_app.models.lane import LaneKind

ASKED = ~Q(model="")
"""Turns in which a model was asked, and not those of commands."""


@dataclass(frozen=True, slots=True)
class Usage:
    turns: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Of the prompts' tokens, those that the model's server had in its cache."""
    cost_micros: int = 0
    """In millionths of the prices' currency, of those turns whose cost is known."""
    unpriced: int = 0
    """Turns whose cost is not known."""


def of_session(session: Session) -> Usage:
    """All turns of the session that asked a model."""
    return sum_of(Turn.objects.filter(session=session))


def today_of_session(session: Session, *, at: datetime, user_id: str) -> Usage:
    """The turns of one person in a session, today."""
    asked = InboundMessage.objects.filter(user_id=user_id, turn__session=session).values("turn_id")
    return sum_of(Turn.objects.filter(session=session, started_at__gte=midnight(at), pk__in=asked))


def today_of_person(*, platform: str, user_id: str, at: datetime) -> Usage:
    """The turns in all conversations on a platform that are this person's alone, today."""
    own = Session.objects.filter(platform=platform, user_id=user_id).values("pk")
    return sum_of(Turn.objects.filter(session__in=own, started_at__gte=midnight(at)))


def midnight(at: datetime) -> datetime:
    """When the day began, in the time zone of the configuration."""
    local = at.astimezone(zoneinfo.ZoneInfo(live.config().sessions.timezone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


def messages(session: Session) -> tuple[int, int]:
    """Messages of people and of the agent that are in the session itself, and how many further ones were undone."""
    said = TranscriptMessage.objects.filter(session=session, role__in=["user", "assistant"])
    found = said.aggregate(shown=Count("id", filter=Q(undo=None)), undone=Count("id", filter=~Q(undo=None)))
    return found["shown"], found["undone"]


def last_model(session: Session) -> str:
    """The model that answered last in the session; empty where none has."""
    return Turn.objects.filter(ASKED, session=session).order_by("-id").values_list("model", flat=True).first() or ""


def waiting(*, session_key: str) -> int:
    """Messages that wait for a turn in the session's lane."""
    lane: dict[str, Any] = {"lane__kind": LaneKind.TURNS, "lane__key": session_key}
    return InboundMessage.objects.filter(state=InboundState.WAITING, **lane).count()


def sum_of(turns: QuerySet[Turn]) -> Usage:
    """Those of the turns that asked a model, taken together."""
    found = turns.filter(ASKED).aggregate(
        turns=Count("id"),
        prompt=Sum("prompt_tokens"),
        completion=Sum("completion_tokens"),
        cached=Sum("cached_tokens"),
        cost=Sum("cost_micros"),
        unpriced=Count("id", filter=Q(cost_micros=None)),
    )
    return Usage(
        turns=found["turns"],
        prompt_tokens=found["prompt"] or 0,
        completion_tokens=found["completion"] or 0,
        cached_tokens=found["cached"] or 0,
        cost_micros=found["cost"] or 0,
        unpriced=found["unpriced"],
    )
