"""What the people of a session chose to be different in it: which model answers, as whom, and what is shown of that."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from gateway_app.models import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """A session's own choices. What is empty, or None, is as the configuration has it."""

    model: str = ""
    """The model that is asked first."""
    personality: str = ""
    """The name of one of `agent.personalities`."""
    tool_progress: str = ""
    """What is shown of the tools' work: off, new, all or verbose."""
    show_reasoning: bool | None = None
    """Whether the model's thoughts are shown."""
    reasoning_effort: str = ""
    """How long the model is to think: low, medium or high."""

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The choices as `Session.overrides` keeps them; it may be JSON text, as raw SQL returns it.

        What a later version put there is left out.
        """
        found = json.loads(value) if isinstance(value, str) else value
        return cls(**{name: found[name] for name in NAMES if name in found}) if found else cls()

    def to_json(self) -> dict[str, Any] | None:
        """As `Session.overrides` keeps them: only what was chosen, and nothing where that is nothing."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)} or None


NAMES = tuple(field.name for field in fields(Overrides))


def of(session: Session) -> Overrides:
    """The choices of one session."""
    return Overrides.from_json(session.overrides)


def change(*, session_pk: int, **choices: Any) -> Overrides:
    """Changes single choices of a session, and returns all of them.

    Must run in a transaction that holds the session's lane.
    """
    session = Session.objects.only("overrides").get(pk=session_pk)
    found = replace(of(session), **choices)
    Session.objects.filter(pk=session_pk).update(overrides=found.to_json())
    return found
