"""`/whoami`: how a person stands here. It names no other person, and shows no list."""

from __future__ import annotations

from gateway_app.access.command_access import Scope, Tier, scope_of
from gateway_app.access.standing import because

from .base import Call, Command, Group

TIERS = {
    Tier.UNGATED: "ungated: no admins are named here, so everybody may run every command",
    Tier.ADMIN: "admin: you may run every command",
    Tier.USER: "user: you may run the commands below",
}
PLACES = {Scope.DM: "a direct message", Scope.GROUP: "a group, channel or thread"}


async def show(call: Call) -> str:
    """Who the gateway takes the person for, why they may speak, and what they may run."""
    source = call.source
    lines = [f"Platform: {_code(source.platform)}", f"User id: {_code(source.user_id)}"]
    if source.user_id_alt:
        lines.append(f"Alternative id: {_code(source.user_id_alt)}")
    lines += [
        f"Place: {PLACES[scope_of(source)]}",
        f"Session: {_code(call.context.session_key)}",
        f"Allowed by: {_code(because(call.admission))}",
        f"Commands: {TIERS[call.decision.tier]}",
        f"You may use: {', '.join(f'/{command.name}' for command in call.permitted)}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _code(text: str) -> str:
    """`text` as it is, whatever an id has in it, on one line."""
    plain = "".join(c if c.isprintable() and c != "`" else "?" for c in text)
    return f"`{plain}`" if plain.strip() else "none"


COMMAND = Command(
    name="whoami", summary="shows who you are here, and why you may speak to the agent.", group=Group.FACTS, run=show
)
