"""`/sethome`: makes a chat the home channel of its platform."""

from __future__ import annotations

from gateway_app import homes
from gateway_app.access.audit import Actor
from gateway_app.models.audit import Door

from .base import Call, Command, Effect, Group, Held

REMOVE = "remove"
USAGE = "`/sethome` makes this chat the home channel of its platform, and `/sethome remove` takes that back."


async def choose(call: Call) -> str | Effect:
    """Makes this chat, or this thread of it, the home channel, or takes back what was chosen."""
    wanted = call.arguments.lower()
    if wanted not in ("", REMOVE):
        return USAGE

    def carry_out(held: Held) -> str:
        source = call.source
        by = Actor(source.user_id, Door.CHAT)
        if wanted == REMOVE:
            was_one = homes.take_back(source.platform, by=by)
            said = f"{source.platform} has no home channel any more." if was_one else NOTHING
        else:
            is_new = homes.choose(source, by=by)
            said = f"This chat is the home channel of {source.platform} {'now' if is_new else 'already'}."
        return said + _precedence(call)

    return carry_out


NOTHING = "No chat had been made the home channel with /sethome."


def _precedence(call: Call) -> str:
    """What the configuration says to that, which goes before."""
    home, source = homes.configured(call.source.platform), call.source
    if home is None or (home.chat_id, home.thread_id) == (source.chat_id, source.thread_id):
        return ""
    variable = homes.setting(source.platform)
    return (
        f" But the configuration names one with {variable}, and that goes before: it stays in force until it is unset."
    )


COMMAND = Command(
    name="sethome",
    summary="makes this chat the home channel of its platform, where messages without a chat go.",
    group=Group.OTHER,
    usage="[remove]",
    for_admins=True,
    run=choose,
)
