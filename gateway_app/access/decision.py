"""Who may speak to the agent: one pure decision, denied unless a list allows."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

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
    if settings.PLATFORM_ALLOW_ALL_USERS.get(source.platform):
        return Decision(True, f"{prefix}_ALLOW_ALL_USERS")
    if settings.ALLOW_ALL_USERS:
        return Decision(True, "GATEWAY_ALLOW_ALL_USERS")
    for rule, allowed in (
        (f"{prefix}_ALLOWED_USERS", settings.PLATFORM_ALLOWED_USERS.get(source.platform, [])),
        ("GATEWAY_ALLOWED_USERS", settings.ALLOWED_USERS),
    ):
        if ANYONE in allowed or ids.intersection(allowed):
            return Decision(True, rule)
    return Decision(False, "no list allows the sender")
