"""What people read of questions, and the buttons below them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from gateway_app.duration import duration
from gateway_app.models import Question
from gateway_app.models.question import ApprovalScope, QuestionKind, QuestionState

APPROVE = {"once": "Approve", "session": "For this conversation", "always": "Always"}
DENY = "deny"
LONGEST_LABEL = 40
"""Characters of a choice that a button shows."""
SCOPES = {
    ApprovalScope.ONCE: "",
    ApprovalScope.SESSION: " I do not ask about it again in this conversation.",
    ApprovalScope.ALWAYS: " I do not ask you about it again.",
}


def message(question: Question, *, now: datetime) -> str:
    """The text that asks."""
    wait = duration((question.expires_at - now).total_seconds())
    if question.kind == QuestionKind.CLARIFY:
        listed = "".join(f"\n{number}. {choice}" for number, choice in enumerate(question.choices, start=1))
        how = "Answer with a number, or in your own words." if question.choices else "Just answer."
        return f"{question.text}{chr(10) if listed else ''}{listed}\n\n{how} I wait for {wait}."
    return (
        f"**May I run this?** ({question.name})\nTool: `{question.tool}`\n```json\n{question.text}\n```\n"
        f"/approve {question.name} runs it once; with `session` or `always` I do not ask again."
        f" /deny {question.name} does not. Without an answer within {wait} it is not run."
    )


def buttons(question: Question) -> list[tuple[str, str]]:
    """The label and the value of each button: what is chosen, after the question's token."""
    if question.kind == QuestionKind.CLARIFY:
        found = [(_cut(choice), str(number)) for number, choice in enumerate(question.choices, start=1)]
    else:
        found = [(label, value) for value, label in APPROVE.items()] + [("Deny", DENY)]
    return [(label, f"{question.token}.{value}") for label, value in found]


def encoded(question: Question) -> str:
    """The buttons, as the outbox keeps them."""
    found = buttons(question)
    return json.dumps(found, ensure_ascii=False) if found else ""


def settled(question: Question) -> str:
    """What became of it, in one line."""
    name = f"`{question.tool}` ({question.name})"
    match QuestionState(question.state):
        case QuestionState.APPROVED:
            return f"Approved: {name}.{SCOPES[ApprovalScope(question.scope)]}"
        case QuestionState.DENIED:
            return f"Denied: {name} is not run."
        case QuestionState.ANSWERED:
            return f"Answered: {_cut(question.answer)}"
        case QuestionState.EXPIRED:
            return "Nobody answered in time."
        case QuestionState.WITHDRAWN:
            return "No longer asked: I was stopped."
        case _:
            return "Waits for an answer."


def listing(questions: Sequence[Question]) -> str:
    """The questions that wait, by their numbers."""
    lines = [
        f"- {question.name}: `{question.tool}`" if question.kind == QuestionKind.APPROVAL else
        f"- {question.name}: {_cut(question.text)}"
        for question in questions
    ]  # fmt: skip
    return "\n".join(lines)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_LABEL else f"{line[: LONGEST_LABEL - 1]}…"
