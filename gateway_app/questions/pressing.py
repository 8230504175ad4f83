"""Takes the press of a button below a question. What it may do is decided anew, whatever the button says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction

from gateway_app import lanes
from gateway_app.models import Question
from gateway_app.models.question import ApprovalScope, QuestionDoor, QuestionKind, QuestionState
from gateway_app.sessions.routing import context_of
from gateway_app.sessions.source import SessionContext, SessionSource

from . import answering, deciding, wording

UNKNOWN = "There is no such question any more."


@dataclass(frozen=True, slots=True)
class Pressed:
    """What came of a press."""

    text: str
    """For whoever pressed."""
    is_settled: bool = False
    """Nothing is left to be pressed: the question has its answer, from this press or before."""
    rings: tuple[SessionContext, ...] = ()
    """To be rung for after the commit."""


def press(value: str, *, source: SessionSource, assert_held: Callable[[], None] | None = None) -> Pressed:
    """Settles the question that the button belongs to, if whoever pressed it, in `source`, may; twice does no harm.

    The caller rings after this returns. `assert_held` runs within the transaction and raises if the caller may no
    longer take anything. Raises `django.db.Error`.
    """
    token, _, choice = value.rpartition(".")
    with transaction.atomic():
        if assert_held:
            assert_held()
        question = Question.objects.select_related("turn__session").filter(token=token).first() if token else None
        if question is None or not _is_offered(question, choice):
            return Pressed(UNKNOWN)
        scope = ApprovalScope(choice) if choice in set(ApprovalScope) else ApprovalScope.ONCE
        if objection := deciding.objection(question, source, scope=scope):
            return Pressed(objection)
        if question.state != QuestionState.PENDING:
            return Pressed(wording.settled(question), is_settled=True)
        lanes.wake(lane_id=question.lane_id)
        is_first = _settle(question, choice, by=source.participant, scope=scope)
        if not is_first:
            question.refresh_from_db()
        return Pressed(wording.settled(question), is_settled=True, rings=(session_of(question),))


def session_of(question: Question) -> SessionContext:
    """Whom to ring for once the question is settled."""
    return context_of(question.asked, session_id=question.turn.session.session_id)


def _is_offered(question: Question, choice: str) -> bool:
    return any(value == f"{question.token}.{choice}" for _, value in wording.buttons(question))


def _settle(question: Question, choice: str, *, by: str, scope: ApprovalScope) -> bool:
    if question.kind == QuestionKind.CLARIFY:
        return answering.answer(question, text=choice, by=by, door=QuestionDoor.BUTTON)
    if choice == wording.DENY:
        return answering.deny(question, by=by, door=QuestionDoor.BUTTON)
    return answering.approve(question, by=by, door=QuestionDoor.BUTTON, scope=scope)
