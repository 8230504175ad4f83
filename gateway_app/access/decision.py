"""Who may speak to the agent: one pure decision, denied unless a list allows."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_app.config import live
from gateway_app.sessions.source import SessionSource

ANYONE = "*"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a sender may speak, and the rule that decided."""

    is_allowed: bool
    rule: str


def decide(source: SessionSource) -> Decision:
    """The decision for whoever wrote `source`. A sender without an id and a bot are denied by every list."""
    ids = {identity for identity in (source.user_id, source.user_id_alt) if identity}
    prefix = source.platform.upper()
    if not ids:
        return Decision(False, "sender without an id")
    if source.is_bot:
        return Decision(False, "sender is a bot")
    access = live.config().access
    platform = access.platforms.get(source.platform)
    if platform is not None and platform.allow_all_users:
        return Decision(True, f"{prefix}_ALLOW_ALL_USERS")
    if access.allow_all_users:
        return Decision(True, "GATEWAY_ALLOW_ALL_USERS")
    for rule, allowed in (
        (f"{prefix}_ALLOWED_USERS", platform.allowed_users if platform is not None else ()),
        ("GATEWAY_ALLOWED_USERS", access.allowed_users),
    ):
        if ANYONE in allowed or ids.intersection(allowed):
            return Decision(True, rule)
    return Decision(False, "no list allows the sender")
