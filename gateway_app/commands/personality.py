"""`/personality`: as whom the agent answers in this conversation."""

from __future__ import annotations

from gateway_app.config import live
from gateway_app.models import Session
from gateway_app.sessions import overrides

from .base import Call, Command, Effect, Group, Held

USAGE = "`/personality <name>` chooses one for this conversation, and `/personality default` takes that back."
NONE = "There are no personalities to choose from. An operator can set up some, with `agent.personalities`."
DEFAULT = "default"


async def choose(call: Call) -> Effect:
    """Lists the personalities, or chooses one."""
    wanted = call.arguments.lower()

    def carry_out(held: Held) -> str:
        names = [name for name, _ in live.config().agents.personalities]
        if wanted == DEFAULT:
            overrides.change(session_pk=held.session_pk, personality="")
            return "From now on I answer as usual."
        if wanted in names:
            overrides.change(session_pk=held.session_pk, personality=wanted)
            return f"From now on I am “{wanted}” in this conversation. `/personality default` takes that back."
        if not names:
            return NONE
        chosen = overrides.of(Session.objects.get(pk=held.session_pk)).personality
        listed = [f"- {name}{' ← chosen' if name == chosen else ''}" for name in names]
        first = "There is no such personality. There are:" if wanted else "I can be:"
        return "\n".join([first, *listed, "", USAGE])

    return carry_out


COMMAND = Command(
    name="personality",
    summary="shows as whom I can answer in this conversation, or chooses one.",
    group=Group.CHOICES,
    usage="[<name>|default]",
    run=choose,
)
