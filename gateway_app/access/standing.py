"""How a person stands: whether they may speak in a direct message and in a group, and what decides it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway_app.access.decision import Decision
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.config import live
from gateway_app.sessions.source import ChatType, SessionSource


@dataclass(frozen=True, slots=True)
class Standing:
    direct: Decision
    """In a direct message with the agent."""
    group: Decision
    """In a group, channel or thread about which there is no rule of its own."""

    @property
    def allowing(self) -> list[Decision]:
        """The decisions that let the person in, each once."""
        found = {decision.rule: decision for decision in (self.direct, self.group) if decision.is_allowed}
        return list(found.values())


def standing(*, platform: str, user_id: str, user_id_alt: str = "", chat_id: str = "") -> Standing:
    """How the person with this id stands now; `chat_id` names the group. Raises `django.db.Error`."""
    direct = SessionSource(
        platform=platform, chat_id=user_id, chat_type=ChatType.DM, user_id=user_id, user_id_alt=user_id_alt
    )
    group = replace(direct, chat_id=chat_id, chat_type=ChatType.GROUP, is_mention=True)
    return Standing(direct=gatekeeper.decide(direct), group=gatekeeper.decide(group))


def because(decision: Decision) -> str:
    """The rule that decided, and where a setting has its value from."""
    if not decision.setting:
        return decision.rule
    return f"{decision.rule} ({live.config().origin(decision.setting)})"
