"""Settles questions: by a message, a button, the admin or the clock. The first answer counts, whichever door it takes.

Each function must run in a transaction that has locked the question's lane before: putting a message into it, claiming
it, or `lanes.wake()` does. So an answer is never given to a question that is being withdrawn or runs out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from gateway_app import clock
from gateway_app.agent.asking import Answer, Answers
from gateway_app.models import OutboundPart, Question, Turn
from gateway_app.models.lane import LaneKind
from gateway_app.models.question import (
    LONGEST_ANSWER,
    ApprovalScope,
    QuestionDoor,
    QuestionKind,
    QuestionState,
)
from gateway_app.models.turn import TurnState
from gateway_app.sessions.source import SessionSource


def pending(*, lane_ids: Collection[int] = (), session_key: str = "") -> list[Question]:
    """The questions that may still be answered, the oldest first."""
    found = _open_questions(now=clock.read())
    if session_key:
        return list(found.filter(lane__kind=LaneKind.TURNS, lane__key=session_key).order_by("lane_id", "number"))
    return list(found.filter(lane_id__in=lane_ids).order_by("lane_id", "number"))


def seen(questions: Sequence[Question]) -> list[Question]:
    """Those that the person may have read: the message that asks has been sent, or may have been."""
    keys = {f"{question.message_key}/0": question for question in questions}
    sent = OutboundPart.objects.filter(idempotency_key__in=keys, attempts__gt=0).values_list(
        "idempotency_key", flat=True
    )
    known = set(sent)
    return [question for key, question in keys.items() if key in known]


def is_theirs(question: Question, source: SessionSource) -> bool:
    """Whether it is the turn of whoever wrote `source`, in the place where they wrote."""
    return bool(source.participant) and source.participant == question.asked.participant and is_here(question, source)


def is_here(question: Question, source: SessionSource) -> bool:
    """Whether `source` was written in the chat where it is asked."""
    asked = question.asked
    return (source.platform, source.account, source.chat_id) == (asked.platform, asked.account, asked.chat_id)


def approve(question: Question, *, by: str, door: QuestionDoor, scope: ApprovalScope = ApprovalScope.ONCE) -> bool:
    """Lets the call run; false where the question was settled before."""
    return _settle(question, state=QuestionState.APPROVED, by=by, door=door, scope=scope)


def deny(question: Question, *, by: str, door: QuestionDoor, reason: str = "") -> bool:
    """Has the model told that the call may not run; false where the question was settled before."""
    return _settle(question, state=QuestionState.DENIED, by=by, door=door, answer=reason)


def answer(question: Question, *, text: str, by: str, door: QuestionDoor) -> bool:
    """Answers what was asked, by a choice's number, a choice or other words; false where it was settled before."""
    return _settle(question, state=QuestionState.ANSWERED, by=by, door=door, answer=_chosen(question, text))


def expire(*, turn_id: int, now: datetime) -> None:
    """Settles the turn's questions whose time is over. Nobody has denied them."""
    Question.objects.filter(turn_id=turn_id, state=QuestionState.PENDING, expires_at__lte=now).update(
        state=QuestionState.EXPIRED, door=QuestionDoor.TIMEOUT, answered_at=now
    )


def withdraw(*, turn_id: int, now: datetime) -> None:
    """Settles the questions of a turn that is stopped."""
    Question.objects.filter(turn_id=turn_id, state=QuestionState.PENDING).update(
        state=QuestionState.WITHDRAWN, answered_at=now
    )


def answers_of(turn_id: int) -> Answers:
    """What people have answered in this turn so far."""
    found = Question.objects.filter(turn_id=turn_id).exclude(state=QuestionState.PENDING)
    return {
        (question.reply, question.tool_call_id): Answer(
            QuestionKind(question.kind), QuestionState(question.state), question.answer
        )
        for question in found
    }


def _open_questions(*, now: datetime) -> QuerySet[Question]:
    parked = Turn.objects.filter(pk=OuterRef("turn_id"), state=TurnState.PARKED, stop="")
    return Question.objects.filter(Exists(parked), state=QuestionState.PENDING, expires_at__gt=now)


def _settle(
    question: Question,
    *,
    state: QuestionState,
    by: str,
    door: QuestionDoor,
    scope: ApprovalScope | None = None,
    answer: str = "",
) -> bool:
    now = clock.read()
    changes = {
        "state": state, "scope": scope or "", "answer": answer.strip()[:LONGEST_ANSWER], "door": door,
        "answered_by": by[:255], "answered_at": now,
    }  # fmt: skip
    is_first = bool(_open_questions(now=now).filter(pk=question.pk).update(**changes))
    if is_first:
        for name, value in changes.items():
            setattr(question, name, value)
    return is_first


def _chosen(question: Question, text: str) -> str:
    words = text.strip()
    choices: list[str] = question.choices
    if words.isascii() and words.isdigit() and 1 <= int(words[:6]) <= len(choices):
        return choices[int(words) - 1]
    return next((choice for choice in choices if choice.casefold() == words.casefold()), words)
