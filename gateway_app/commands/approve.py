"""`/approve`: lets a tool call run that the agent asks about."""

from __future__ import annotations

from gateway_app.models import Question
from gateway_app.models.question import ApprovalScope, QuestionDoor, QuestionKind
from gateway_app.questions import answering, deciding, wording

from .base import Call, Command, Group

NOTHING = "There is nothing to approve or to deny here."
USAGE = "Say `/approve`, `/approve 2` or `/approve all`, and `session` or `always` after it if I need not ask again."


def approve(call: Call) -> str:
    """Approves the oldest call that waits, the one of a number, or all."""
    words = call.arguments.lower().split()
    scope = ApprovalScope.ONCE
    if words and words[-1] in set(ApprovalScope):
        scope = ApprovalScope(words.pop())
    waiting = waiting_calls(call)
    chosen = _chosen(waiting, words)
    if not waiting:
        return NOTHING
    if chosen is None:
        return f"{USAGE}\n{wording.listing(waiting)}"
    return "\n".join(_approved(question, call, scope) for question in chosen)


def waiting_calls(call: Call) -> list[Question]:
    """What of the session's parked turn waits for an approval, the oldest first."""
    if call.place is None:  # it waited for its turn, so that no other is parked
        return []
    found = answering.pending(session_key=call.context.session_key)
    return [question for question in found if question.kind == QuestionKind.APPROVAL]


def chosen(waiting: list[Question], word: str) -> list[Question] | None:
    """The questions that a word means: a number, `all`, or, where it is empty, the oldest; None where it means none."""
    if not word:
        return waiting[:1]
    if word == "all":
        return waiting
    number = word.removeprefix("#")
    return [question for question in waiting if str(question.number) == number] or None


def _chosen(waiting: list[Question], words: list[str]) -> list[Question] | None:
    return chosen(waiting, "".join(words)) if len(words) < 2 else None


def _approved(question: Question, call: Call, scope: ApprovalScope) -> str:
    if objection := deciding.objection(question, call.source, scope=scope):
        return objection
    answering.approve(question, by=call.source.participant, door=QuestionDoor.CHAT, scope=scope)
    return wording.settled(question)


COMMAND = Command(
    name="approve",
    summary="lets a tool run that I ask about: a number or `all`, and `session` or `always`.",
    group=Group.WORK,
    usage="[<number> | all] [session | always]",
    answer=approve,
)
