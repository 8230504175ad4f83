"""What the turns of a conversation ask, as its page shows it: buttons below the message, or what became of them."""

from __future__ import annotations

from typing import Any

from gateway_app.models import OutboundPart, Question
from gateway_app.models.question import QuestionState
from gateway_app.questions import wording

MOST = 20
"""Questions that a page knows of, the newest."""

Asked = dict[str, Any]
"""A question as the page gets it: the `item` below which it stands, its `state`, what became of it as `text`, and its
`buttons`."""


def asked_in(lane_id: int) -> list[Asked]:
    """The newest questions of a session's lane, the oldest of them first."""
    questions = list(Question.objects.filter(lane_id=lane_id).order_by("-number")[:MOST])
    keys = {f"{question.message_key}/0": question for question in reversed(questions)}
    parts = dict(OutboundPart.objects.filter(idempotency_key__in=keys).values_list("idempotency_key", "pk"))
    return [_shown(question, item=f"out-{parts[key]}") for key, question in keys.items() if key in parts]


def _shown(question: Question, *, item: str) -> Asked:
    is_pending = question.state == QuestionState.PENDING
    return {
        "item": item,
        "state": question.state,
        "text": "" if is_pending else wording.settled(question).replace("`", ""),
        "buttons": wording.buttons(question) if is_pending else [],
    }
