"""Parks a turn: what it asks is a row, its lane is free, and no worker waits. It goes on once all is answered.

The lane's `wake_at` is the deadline. Whoever answers rings; each ring, and the sweep at the deadline, looks whether
something is open still.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Max

from gateway_app import background, clock, lanes
from gateway_app.agent.asking import Ask, Parked
from gateway_app.config import live
from gateway_app.delivery import outbox
from gateway_app.delivery.outbox import Draft, Head, Posting
from gateway_app.lanes import Claim
from gateway_app.models import Question, Turn
from gateway_app.models.question import QuestionKind
from gateway_app.models.turn import StopReason, TurnState
from gateway_app.questions import redaction, wording
from gateway_app.statements import execute

from .closing import Closed, StopAsked
from .opening import OpenTurn


def park(turn: OpenTurn, parked: Parked) -> Closed:
    """Commits the questions and the messages that ask, and lets the lane go. Raises `LaneLost` and `StopAsked`."""
    with lanes.fenced(turn.claim):
        lanes.hold(turn.claim)
        if not Turn.objects.filter(pk=turn.turn_id, stop="").update(state=TurnState.PARKED):
            raise StopAsked(StopReason(Turn.objects.values_list("stop", flat=True).get(pk=turn.turn_id)))
        now = clock.read()
        questions = _write(turn, parked.asks, reply=parked.reply, now=now)
        delivery, head = _post(turn, questions, now=now)
        lanes.release(turn.claim, wake_at=min(question.expires_at for question in questions))
    return Closed(delivery, head, None)


def _write(turn: OpenTurn, asks: Sequence[Ask], *, reply: int, now: datetime) -> list[Question]:
    config = live.config()
    settings = config.approvals
    last = Question.objects.filter(lane_id=turn.claim.lane_id).aggregate(last=Max("number"))["last"] or 0
    questions = []
    for number, ask in enumerate(asks, start=last + 1):
        is_approval = ask.kind is QuestionKind.APPROVAL
        seconds = settings.timeout_seconds if is_approval else settings.clarify_timeout_seconds
        questions.append(
            Question(
                turn_id=turn.turn_id,
                lane_id=turn.claim.lane_id,
                number=number,
                kind=ask.kind,
                reply=reply,
                tool_call_id=ask.call.id,
                tool=ask.call.name,
                text=redaction.shown(ask.arguments, config=config) if is_approval else ask.arguments["question"],
                choices=[] if is_approval else ask.arguments.get("choices", []),
                source=turn.source.to_json(),
                asked_at=now,
                expires_at=now + timedelta(seconds=seconds),
            )
        )
    return Question.objects.bulk_create(questions)


def _post(turn: OpenTurn, questions: Sequence[Question], *, now: datetime) -> tuple[Claim | None, Head | None]:
    context = turn.context
    drafts = [
        Draft(
            key=question.message_key,
            platform=context.platform,
            account=context.account,
            chat_id=context.chat_id,
            thread_id=context.thread_id,
            reply_to=turn.reply_to,
            text=background.labelled(turn.source, wording.message(question, now=now)),
            turn_id=turn.turn_id,
            buttons=wording.encoded(question),
        )
        for question in questions
    ]
    for draft in drafts[:-1]:
        outbox.enqueue(draft)
    posting = Posting(drafts[-1], and_claim=True)
    return posting.outcome(execute(*posting.statements))
