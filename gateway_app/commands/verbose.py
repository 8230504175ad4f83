"""`/verbose`: how much of the tools' work is shown in this conversation."""

from __future__ import annotations

from gateway_app.models import Session
from gateway_app.platforms import registry as platforms
from gateway_app.sessions import overrides
from gateway_app.turns.display import display_of

from .base import Call, Command, Effect, Group, Held

MODES = {
    "off": "nothing of the tools' work is shown",
    "new": "each tool is named when I begin to use it",
    "all": "each use of a tool is shown",
    "verbose": "each use of a tool is shown with what it was given",
}
DEFAULT = "default"
USAGE = (
    f"`/verbose` goes to the next of {', '.join(MODES)}; `/verbose <one of them>` chooses it, `default` takes it back."
)


async def choose(call: Call) -> str | Effect:
    """Chooses the mode that is named, or the next one."""
    wanted = call.arguments.lower()
    if wanted and wanted not in (*MODES, DEFAULT):
        return USAGE

    def carry_out(held: Held) -> str:
        mode = wanted or _next(_in_force(call, Session.objects.get(pk=held.session_pk)))
        overrides.change(session_pk=held.session_pk, tool_progress="" if mode == DEFAULT else mode)
        if mode == DEFAULT:
            return "From now on as much of the tools' work is shown here as is usual."
        return f"{mode}: from now on {MODES[mode]} in this conversation."

    return carry_out


def _in_force(call: Call, session: Session) -> str:
    chosen = overrides.of(session).tool_progress
    return chosen or display_of(platforms.get(call.context.platform)).tool_progress


def _next(mode: str) -> str:
    modes = list(MODES)
    return modes[(modes.index(mode) + 1) % len(modes)]


COMMAND = Command(
    name="verbose",
    summary="chooses how much of my tools' work is shown in this conversation.",
    group=Group.CHOICES,
    usage="[off|new|all|verbose|default]",
    run=choose,
)
