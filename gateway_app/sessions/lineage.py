"""What a branch starts from: stretches of other sessions' transcripts, which it reads and never copies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.db.models import F, Max, OuterRef, Q, QuerySet, Subquery

from gateway_app.models import Session, TranscriptMessage, Undo

MOST_PARTS = 100
"""Stretches that a branch of branches goes back to. Each has two messages at least, and the model sees no more of them
than HISTORY_MAX_MESSAGES."""


class Part(NamedTuple):
    """The transcript of a session up to a message, as it was when the branch was made."""

    session_pk: int
    last_message: int
    """Its newest message that belongs to the branch."""
    last_undo: int
    """The newest `Undo` of that session then; what was undone later belongs to the branch, still."""


def read(value: Any) -> tuple[Part, ...]:
    """The parts of `Session.inherited`, newest first. It may be JSON text, as raw SQL returns it."""
    found = json.loads(value) if isinstance(value, str) else value
    return tuple(Part(*part) for part in found or ())


def written(parts: Iterable[Part]) -> list[list[int]] | None:
    """`parts` as `Session.inherited` keeps them."""
    return [list(part) for part in parts][:MOST_PARTS] or None


def stretches(session: Session) -> list[QuerySet[TranscriptMessage]]:
    """What the model sees of a session, newest first: its own messages, then those of each part it starts from."""
    own = TranscriptMessage.objects.filter(session_id=session.pk, undo=None)
    parts = [
        TranscriptMessage.objects.filter(
            Q(undo=None) | Q(undo_id__gt=part.last_undo), session_id=part.session_pk, id__lte=part.last_message
        )
        for part in read(session.inherited)
    ]
    return [found.order_by("-id") for found in (own, *parts)]


def newest_questions(session: Session, *, limit: int) -> list[TranscriptMessage]:
    """The newest messages of people that the model sees, newest first; of each turn the one that it began with.

    What joined a turn while it ran is a part of that exchange, and none of its own.
    """
    before = TranscriptMessage.objects.filter(session_id=OuterRef("session_id"), id__lt=OuterRef("id")).order_by("-id")
    begins = Q(turn_before=None) | Q(turn=None) | ~Q(turn_before=F("turn_id"))
    found: list[TranscriptMessage] = []
    for stretch in stretches(session):
        if len(found) < limit:
            questions = stretch.filter(role="user").annotate(turn_before=Subquery(before.values("turn_id")[:1]))
            found += questions.filter(begins)[: limit - len(found)]
    return found


def is_empty(session: Session) -> bool:
    """Whether nothing has been said in the session that the model sees."""
    return not any(stretch.exists() for stretch in stretches(session))


def so_far(session: Session) -> list[Part]:
    """What a branch of `session` starts from. The session's lane must be held, so that nothing is added meanwhile."""
    newest = TranscriptMessage.objects.filter(session=session, undo=None).aggregate(found=Max("id"))["found"]
    parts: Sequence[Part] = read(session.inherited)
    if newest is None:
        return list(parts)
    undone = Undo.objects.filter(session=session).aggregate(found=Max("id"))["found"] or 0
    return [Part(session.pk, newest, undone), *parts]
