"""`/deny`: has a tool call not run that the agent asks about."""

from __future__ import annotations

from gateway_app.models import Question
from gateway_app.models.question import QuestionDoor
from gateway_app.questions import answering, deciding, wording

from .approve import NOTHING, chosen, reaches, settled, waiting_calls
from .base import Answer, Call, Command, Group


def deny(call: Call) -> str | Answer:
    """Denies the oldest call that waits, the one of a number, or all; what follows is the reason."""
    waiting = waiting_calls(call)
    if not waiting:
        return NOTHING
    word, _, rest = call.arguments.partition(" ")
    found = chosen(waiting, word.lower())
    reason = rest
    if found is None:  # no number that waits
        if word.removeprefix("#").isdecimal():
            return f"No call of that number waits.\n{wording.listing(waiting)}"
        found, reason = waiting[:1], call.arguments
    return settled(found, [_denied(question, call, reason) for question in found])


def _denied(question: Question, call: Call, reason: str) -> str:
    if objection := deciding.objection(question, call.source):
        return objection
    answering.deny(question, by=call.source.participant, door=QuestionDoor.CHAT, reason=reason)
    return wording.settled(question)


COMMAND = Command(
    name="deny",
    summary="has a tool not run that I ask about: a number or `all`, and a reason if you like.",
    group=Group.WORK,
    usage="[<number> | <background id> | all] [<reason>]",
    answer=deny,
    reaches=reaches,
)
