"""The decision as a table: who writes where, what is set, and what comes of it, each row a sentence.

`docs/reference/decisions.md` is written from it, by asking `decide()`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway_app.access.decision import Facts, Ground, PlatformFacts, RuleFact, RuleKey
from gateway_app.models.access import Origin
from gateway_app.sessions.source import ChatType, SessionSource

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
ANN = {"user_id": "7"}
GROUP = {"chat_type": ChatType.GROUP, "chat_id": "-100"}


def rule(
    effect: str = "allow", subject: str = "user", platform: str = "telegram", name: str = "7", **values: Any
) -> dict[RuleKey, RuleFact]:
    return {(effect, subject, platform, name): RuleFact(1, **values)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`what` completes: "<what> is let in" or "<what> is denied"."""

    what: str
    is_allowed: bool
    ground: Ground
    source: dict[str, Any] = field(default_factory=lambda: ANN)
    platform: dict[str, Any] = field(default_factory=dict)
    gateway: dict[str, Any] = field(default_factory=dict)

    def asked(self) -> SessionSource:
        source = {"platform": "telegram", "chat_id": "7", "chat_type": ChatType.DM, **self.source}
        return SessionSource(**source)

    def facts(self) -> Facts:
        return Facts(platforms={"telegram": PlatformFacts(**self.platform)}, **self.gateway)

    def sentence(self) -> str:
        return f"{self.what} is {'let in' if self.is_allowed else 'denied'}."


def allowed(what: str, ground: Ground, **values: Any) -> Row:
    return Row(what=what, is_allowed=True, ground=ground, **values)


def denied(what: str, ground: Ground, **values: Any) -> Row:
    return Row(what=what, is_allowed=False, ground=ground, **values)


ONLY_ANN = frozenset({"7"})
ANYONE = frozenset({"*"})
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)

TABLE = [
    denied("Somebody whom nothing allows", Ground.NOTHING),
    denied(
        "Somebody on a platform that the configuration does not know", Ground.NOTHING, source={**ANN, "platform": "sms"}
    ),
    # Bans
    denied(
        "A banned person, though every layer allows them,",
        Ground.BANNED,
        platform={"allowed_users": ONLY_ANN, "allow_all_users": True, "dm_policy": "open"},
        gateway={"allow_all_users": True, "allowed_users": ANYONE, "rules": rule("deny") | rule()},
    ),
    denied(
        "A person who is banned on every platform",
        Ground.BANNED,
        platform={"allow_all_users": True},
        gateway={"rules": rule("deny", platform="")},
    ),
    denied(
        "A person whose stable alternative id is banned",
        Ground.BANNED,
        source={**ANN, "user_id_alt": "uuid"},
        platform={"allow_all_users": True},
        gateway={"rules": rule("deny", name="uuid")},
    ),
    denied(
        "Everybody, where the wildcard is banned,",
        Ground.BANNED,
        platform={"allow_all_users": True},
        gateway={"rules": rule("deny", name="*")},
    ),
    denied(
        "A person on the list who writes in a banned group",
        Ground.BANNED,
        source=ANN | GROUP,
        platform={"allowed_users": ONLY_ANN},
        gateway={"rules": rule("deny", "chat", name="-100")},
    ),
    allowed(
        "A person on the list whose ban has ended",
        Ground.PLATFORM_LIST,
        platform={"allowed_users": ONLY_ANN},
        gateway={"rules": rule("deny", expires_at=YESTERDAY)},
    ),
    # Policies of direct messages and groups
    denied(
        "A person on the list who writes a direct message where those are disabled",
        Ground.CHATS_DISABLED,
        platform={"allowed_users": ONLY_ANN, "dm_policy": "disabled"},
    ),
    allowed(
        "A person on the list who writes in a group where direct messages are disabled",
        Ground.PLATFORM_LIST,
        source=ANN | GROUP,
        platform={"allowed_users": ONLY_ANN, "dm_policy": "disabled"},
    ),
    denied(
        "Anybody in an allowed group where groups are disabled",
        Ground.CHATS_DISABLED,
        source=ANN | GROUP,
        platform={"group_allowed_chats": ANYONE, "group_policy": "disabled"},
    ),
    allowed("Anybody in a direct message where those are open", Ground.CHATS_OPEN, platform={"dm_policy": "open"}),
    denied(
        "Anybody in a group where only direct messages are open",
        Ground.NOTHING,
        source=ANN | GROUP,
        platform={"dm_policy": "open"},
    ),
    allowed(
        "Anybody in a group where groups are open",
        Ground.CHATS_OPEN,
        source=ANN | GROUP,
        platform={"group_policy": "open"},
    ),
    # Chats
    allowed(
        "Anybody in a group on the list of groups",
        Ground.CHAT_ALLOWED,
        source=ANN | GROUP,
        platform={"group_allowed_chats": frozenset({"-100"})},
    ),
    allowed(
        "A message without a sender in a group on the list of groups",
        Ground.CHAT_ALLOWED,
        source={"user_id": "", **GROUP},
        platform={"group_allowed_chats": frozenset({"-100"})},
    ),
    allowed(
        "Anybody in any group where the list of groups has the wildcard",
        Ground.CHAT_ALLOWED,
        source=ANN | GROUP,
        platform={"group_allowed_chats": ANYONE},
    ),
    allowed(
        "Anybody in a group that a rule allows",
        Ground.CHAT_ALLOWED,
        source=ANN | GROUP,
        gateway={"rules": rule("allow", "chat", name="-100")},
    ),
    denied(
        "Somebody in a group that a rule allows on another platform",
        Ground.NOTHING,
        source=ANN | GROUP,
        gateway={"rules": rule("allow", "chat", platform="webchat", name="-100")},
    ),
    denied(
        "A direct message whose chat is on the list of groups",
        Ground.NOTHING,
        platform={"group_allowed_chats": frozenset({"7"})},
    ),
    # Bots and senders without an id
    denied(
        "A bot that is on the list of people",
        Ground.BOT,
        source={**ANN, "is_bot": True},
        platform={"allowed_users": ONLY_ANN},
    ),
    denied(
        "A bot where everybody is allowed",
        Ground.BOT,
        source={**ANN, "is_bot": True},
        platform={"allow_all_users": True},
        gateway={"allow_all_users": True},
    ),
    allowed(
        "A bot where bots are allowed",
        Ground.BOT_ALLOWED,
        source={**ANN, "is_bot": True},
        platform={"allow_bots": "all"},
    ),
    allowed(
        "A bot that addresses the agent where such bots are allowed",
        Ground.BOT_ALLOWED,
        source={**ANN, "is_bot": True, "is_mention": True},
        platform={"allow_bots": "mentions"},
    ),
    denied(
        "A bot that does not address the agent where only such bots are allowed",
        Ground.BOT,
        source={**ANN, "is_bot": True},
        platform={"allow_bots": "mentions"},
    ),
    denied(
        "A sender without an id where everybody is allowed",
        Ground.NO_ID,
        source={"user_id": ""},
        platform={"allow_all_users": True, "allowed_users": ANYONE},
        gateway={"allow_all_users": True, "allowed_users": ANYONE},
    ),
    # People
    allowed(
        "Anybody where everybody on the platform is allowed",
        Ground.PLATFORM_ALLOW_ALL,
        platform={"allow_all_users": True},
    ),
    allowed("A person whose pairing was approved", Ground.PAIRED, gateway={"rules": rule(origin=Origin.PAIRING.value)}),
    allowed(
        "A person whose pairing was approved, in a group too,",
        Ground.PAIRED,
        source=ANN | GROUP,
        gateway={"rules": rule(origin=Origin.PAIRING.value)},
    ),
    allowed(
        "A paired person where other people are on a list",
        Ground.PAIRED,
        platform={"allowed_users": frozenset({"8"})},
        gateway={"rules": rule(origin=Origin.PAIRING.value)},
    ),
    denied(
        "A person whose pairing was approved on another platform",
        Ground.NOTHING,
        gateway={"rules": rule(platform="webchat", origin=Origin.PAIRING.value)},
    ),
    allowed("A person on the platform's list", Ground.PLATFORM_LIST, platform={"allowed_users": ONLY_ANN}),
    allowed(
        "A person whose stable alternative id is on the platform's list",
        Ground.PLATFORM_LIST,
        source={"user_id": "new", "user_id_alt": "7"},
        platform={"allowed_users": ONLY_ANN},
    ),
    denied(
        "A person who has the name of somebody on the list",
        Ground.NOTHING,
        source={"user_id": "8", "user_name": "7"},
        platform={"allowed_users": ONLY_ANN},
    ),
    allowed(
        "Anybody where the platform's list has the wildcard", Ground.PLATFORM_LIST, platform={"allowed_users": ANYONE}
    ),
    allowed("A person on the list for direct messages", Ground.PLATFORM_LIST, platform={"allow_from": ONLY_ANN}),
    denied(
        "A person on the list for direct messages who writes in a group",
        Ground.NOTHING,
        source=ANN | GROUP,
        platform={"allow_from": ONLY_ANN},
    ),
    allowed(
        "A person on the list for groups who writes in one",
        Ground.PLATFORM_LIST,
        source=ANN | GROUP,
        platform={"group_allow_from": ONLY_ANN},
    ),
    denied(
        "A person on the list for groups who writes a direct message",
        Ground.NOTHING,
        platform={"group_allow_from": ONLY_ANN},
    ),
    allowed("A person whom a rule allows", Ground.ALLOWED, gateway={"rules": rule()}),
    allowed("A person whom a rule allows on every platform", Ground.ALLOWED, gateway={"rules": rule(platform="")}),
    allowed("A person whom a rule allows until tomorrow", Ground.ALLOWED, gateway={"rules": rule(expires_at=TOMORROW)}),
    denied(
        "A person whom a rule allowed until yesterday", Ground.NOTHING, gateway={"rules": rule(expires_at=YESTERDAY)}
    ),
    allowed("Anybody where a rule allows the wildcard", Ground.ALLOWED, gateway={"rules": rule(name="*")}),
    allowed("A person on the gateway's list", Ground.GATEWAY_LIST, gateway={"allowed_users": ONLY_ANN}),
    allowed("Anybody where everybody is allowed", Ground.GATEWAY_ALLOW_ALL, gateway={"allow_all_users": True}),
    allowed(
        "Anybody where everybody is allowed, beside a list of others,",
        Ground.GATEWAY_ALLOW_ALL,
        platform={"allowed_users": frozenset({"8"})},
        gateway={"allow_all_users": True},
    ),
]
