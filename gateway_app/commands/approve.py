"""`/approve`: lets a tool call run that the agent asks about."""

from __future__ import annotations

from gateway_app import background, lanes
from gateway_app.models import Question
from gateway_app.models.question import ApprovalScope, QuestionDoor, QuestionKind
from gateway_app.questions import answering, deciding, wording
from gateway_app.questions.pressing import session_of
from gateway_app.sessions.source import SessionSource

from .base import Answer, Call, Command, Group

NOTHING = "There is nothing to approve or to deny here."
USAGE = "Say `/approve`, `/approve 2` or `/approve all`, and `session` or `always` after it if I need not ask again."


def approve(call: Call) -> str | Answer:
    """Approves the oldest call that waits, the one of a number, all, or that of work in the background."""
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
    return settled(chosen, [_approved(question, call, scope) for question in chosen])


def waiting_calls(call: Call) -> list[Question]:
    """What waits for an approval in the session, or in the work in the background that is named; the oldest first."""
    if call.place is None:  # it waited for its turn, so that no other is parked
        return []
    key = reaches(call.source, call.arguments) or call.context.session_key
    found = answering.pending(session_key=key)
    return [question for question in found if question.kind == QuestionKind.APPROVAL]


def reaches(source: SessionSource, arguments: str) -> str:
    """The lane of the work in the background that the arguments begin with; empty where they name none."""
    word = arguments.partition(" ")[0].lower().strip("`")
    return background.key_of(source, word) if background.ID.fullmatch(word) and not word.isdecimal() else ""


def settled(questions: list[Question], said: list[str]) -> Answer:
    """What the person is told; work in the background has to be rung for."""
    beside = [question for question in questions if question.asked.background]
    for question in beside:
        lanes.wake(lane_id=question.lane_id)
    return Answer(text="\n".join(said), rings=tuple(session_of(question) for question in beside))


def chosen(waiting: list[Question], word: str) -> list[Question] | None:
    """The questions that a word means: a number, `all`, or, where it is empty, the oldest; None where it means none."""
    if not word:
        return waiting[:1]
    if word == "all":
        return waiting
    name = word.removeprefix("#").strip("`")
    return [question for question in waiting if question.name == name] or None


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
    usage="[<number> | <background id> | all] [session | always]",
    answer=approve,
    reaches=reaches,
)
