"""Looks whether a parked turn goes on: all is answered, its time is over, or it was stopped."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Min

from gateway_app import clock
from gateway_app.models import Question, Turn
from gateway_app.models.question import QuestionState
from gateway_app.models.turn import TurnState
from gateway_app.questions import answering


def go_on(turn: Turn) -> datetime | None:
    """Has a parked turn run again where it was stopped, or nothing is open; otherwise returns when to look again.

    Must run in a transaction in which the lane was claimed.
    """
    now = clock.read()
    if turn.stop:
        answering.withdraw(turn_id=turn.pk, now=now)
    else:
        answering.expire(turn_id=turn.pk, now=now)
        still_open = Question.objects.filter(turn=turn, state=QuestionState.PENDING)
        if until := still_open.aggregate(until=Min("expires_at"))["until"]:
            return until if isinstance(until, datetime) else None
    turn.state = TurnState.RUNNING
    return None
