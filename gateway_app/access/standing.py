"""How a person stands: whether they may speak in a direct message and in a group, and what decides it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway_app.access.decision import Decision
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.config import live
from gateway_app.models import Person
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
    direct, group = sources(platform=platform, user_id=user_id, user_id_alt=user_id_alt, chat_id=chat_id)
    return Standing(direct=gatekeeper.decide(direct), group=gatekeeper.decide(group))


def standings(people: Iterable[Person]) -> list[Standing]:
    """How each of many people stands, for the price of one look at the database. Raises `django.db.Error`."""
    asked: list[SessionSource] = []
    for person in people:
        asked += sources(platform=person.platform, user_id=person.user_id, user_id_alt=person.user_id_alt)
    found = iter(gatekeeper.decide_all(asked))
    return [Standing(direct=direct, group=group) for direct, group in zip(found, found, strict=True)]


def sources(
    *, platform: str, user_id: str, user_id_alt: str = "", chat_id: str = ""
) -> tuple[SessionSource, SessionSource]:
    """The person in a direct message, and in a group that they address the agent in."""
    direct = SessionSource(
        platform=platform, chat_id=user_id, chat_type=ChatType.DM, user_id=user_id, user_id_alt=user_id_alt
    )
    return direct, replace(direct, chat_id=chat_id, chat_type=ChatType.GROUP, is_mention=True)


def because(decision: Decision) -> str:
    """The rule that decided, and where a setting has its value from."""
    if not decision.setting:
        return decision.rule
    return f"{decision.rule} ({live.config().origin(decision.setting)})"
