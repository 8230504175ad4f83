"""`/model`: which model answers in this conversation."""

from __future__ import annotations

import difflib

from gateway_app.agent import routing
from gateway_app.config import live
from gateway_app.models import Session
from gateway_app.sessions import overrides
from gateway_app.sessions.source import SessionContext

from .base import Call, Command, Effect, Group, Held

USAGE = "`/model <name>` chooses another one for this conversation, and `/model default` takes that back."
DEFAULT = "default"
LONGEST_SHOWN = 60
"""Characters of what was typed that a reply repeats."""
NEAR = 3
"""Names that are suggested where the one that was typed is none."""


async def choose(call: Call) -> Effect:
    """Shows which model answers and why, or chooses another."""
    wanted = call.arguments.split()[0] if call.arguments else ""

    def carry_out(held: Held) -> str:
        if not wanted:
            return shown(call.context, overrides.of(Session.objects.get(pk=held.session_pk)))
        config = live.config()
        if wanted.lower() == DEFAULT:
            overrides.change(session_pk=held.session_pk, model="")
            return f"From now on `{routing.configured_for(call.context, config)}` answers here again."
        allowed = routing.allowed(call.context, config)
        model = next((name for name in allowed if name.lower() == wanted.lower()), "")
        if not model:
            return unknown(wanted, allowed)
        overrides.change(session_pk=held.session_pk, model=model)
        return f"From now on `{model}` answers in this conversation. `/model default` takes that back."

    return carry_out


def shown(context: SessionContext, chosen: overrides.Overrides) -> str:
    """The model in force, where that comes from, and what may be chosen."""
    config = live.config()
    model = routing.models_for(context, config, chosen)[0]
    lines = [f"`{model}` answers here, {origin(context, chosen)}."]
    if chosen.model and chosen.model != model:
        lines.append(f"`{chosen.model}`, which was chosen for this conversation, may not be used any more.")
    names = [f"- `{name}`" for name in routing.allowed(context, config)]
    return "\n".join([*lines, "You may choose from:", *names, "", USAGE])


def origin(context: SessionContext, chosen: overrides.Overrides) -> str:
    """Why it is this model."""
    config = live.config()
    agent = config.agents.platforms.get(context.platform)
    if chosen.model and chosen.model in routing.allowed(context, config):
        return "as chosen for this conversation"
    if agent and context.chat_id in dict(agent.channel_overrides):
        return "as the configuration says for this chat"
    if agent and agent.model:
        return f"as the configuration says for {context.platform}"
    return "as the configuration says for all chats"


def unknown(wanted: str, allowed: tuple[str, ...]) -> str:
    """What somebody is told who named a model that they may not choose."""
    plain = "".join(c if c.isprintable() and c != "`" else "?" for c in wanted)[:LONGEST_SHOWN]
    within = [name for name in allowed if wanted.lower() in name.lower()]
    found = within[:NEAR] or difflib.get_close_matches(wanted, allowed, n=NEAR, cutoff=0.4)
    if found:
        return f"There is no model `{plain}` to choose. Did you mean {' or '.join(f'`{name}`' for name in found)}?"
    return f"There is no model `{plain}` to choose. /model lists those that you may."


COMMAND = Command(
    name="model",
    summary="shows which model answers in this conversation, or chooses another.",
    group=Group.CHOICES,
    usage="[<name>|default]",
    run=choose,
)
