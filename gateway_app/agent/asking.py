"""What of a reply's tool calls a person has to answer before the turn goes on: approvals, and questions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from gateway_app.models.question import QuestionKind, QuestionState

from .model_reply import ToolCall
from .registry import Registry, error

NOT_APPROVED = "Not run: the person did not approve this call.{reason} Do not try to reach the same by another way."
NOT_IN_TIME = "Not run: nobody approved this call in time. Nobody refused it either; go on without it, and say so."
NO_ANSWER = "The person did not answer in time. Go on as you think best, and say what you assumed."


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that waits for a person."""

    call: ToolCall
    kind: QuestionKind
    arguments: Mapping[str, Any]
    """As they fit the tool's schema: what would run."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking about a call."""

    kind: QuestionKind
    state: QuestionState
    text: str = ""
    """The answer, or the reason of a denial."""

    @property
    def result(self) -> str | None:
        """What the call comes to, where it is not to be run; None for one that is approved."""
        match self.state:
            case QuestionState.APPROVED:
                return None
            case QuestionState.ANSWERED:
                return self.text
            case QuestionState.DENIED:
                return error(NOT_APPROVED.format(reason=f" They say: {self.text}" if self.text else ""))
            case _:
                return error(NO_ANSWER if self.kind is QuestionKind.CLARIFY else NOT_IN_TIME)


Answers = Mapping[tuple[int, str], Answer]
"""By the number of the model's reply, from 1, and the call's id in it. An id alone may come again."""
Permit = Callable[[AbstractSet[str]], Awaitable[AbstractSet[str]]]
"""Says which of the tools of these names the person has permitted to run without asking."""


class Parked(Exception):
    """The turn cannot go on before somebody has answered. All that it could do before is done, and journaled."""

    def __init__(self, asks: Sequence[Ask], *, reply: int) -> None:
        super().__init__(f"{len(asks)} calls of reply {reply} wait for an answer")
        self.asks = asks
        self.reply = reply
        """Which of the turn's model replies made the calls, from 1."""


def about(call: ToolCall, tools: Registry) -> Ask | None:
    """What a person has to be asked about the call. Nothing, also where its arguments do not fit: it then fails."""
    kind = tools.asks(call.name)
    if kind is None:
        return None
    values = tools.fitted(call.name, call.arguments)
    return None if values is None else Ask(call, kind, values)
