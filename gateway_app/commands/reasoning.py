"""`/reasoning`: whether the model's thoughts are shown in this conversation, and how long it is to think."""

from __future__ import annotations

from typing import Any

from gateway_app.models import Session
from gateway_app.platforms import registry as platforms
from gateway_app.sessions import overrides
from gateway_app.sessions.overrides import Overrides
from gateway_app.turns.display import display_of

from .base import Call, Command, Effect, Group, Held

EFFORTS = ("low", "medium", "high")
DEFAULT = "default"
CHOICES: dict[str, dict[str, Any]] = {
    "on": {"show_reasoning": True},
    "off": {"show_reasoning": False},
    **{effort: {"reasoning_effort": effort} for effort in EFFORTS},
    DEFAULT: {"show_reasoning": None, "reasoning_effort": ""},
}
USAGE = (
    "`/reasoning on` and `off` show my thoughts or not; `low`, `medium` and `high` say how long I think, where the"
    " model can do that; `default` takes all of it back."
)


async def choose(call: Call) -> str | Effect:
    """Shows how it is, or changes one thing."""
    wanted = call.arguments.lower()
    if wanted not in ("", "status", *CHOICES):
        return USAGE

    def carry_out(held: Held) -> str:
        if wanted in CHOICES:
            return shown(call, overrides.change(session_pk=held.session_pk, **CHOICES[wanted]))
        return f"{shown(call, overrides.of(Session.objects.get(pk=held.session_pk)))}\n{USAGE}"

    return carry_out


def shown(call: Call, chosen: Overrides) -> str:
    """What is in force."""
    display = display_of(platforms.get(call.context.platform), overrides=chosen)
    thoughts = "shown" if display.shows_reasoning else "not shown"
    return f"In this conversation my thoughts are {thoughts}, and I think {EFFORT_WORDS[chosen.reasoning_effort]}."


EFFORT_WORDS = {"": "as long as usual", "low": "briefly", "medium": "for a while", "high": "for long"}

COMMAND = Command(
    name="reasoning",
    summary="chooses whether my thoughts are shown in this conversation, and how long I think.",
    group=Group.CHOICES,
    usage="[on|off|low|medium|high|default]",
    run=choose,
)
