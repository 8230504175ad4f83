"""Who may speak to the agent: one pure decision over facts, denied unless something allows, with the rule that decided.

The order is that of the reference gateway, with two differences (docs/adr): a ban comes before everything, and every
allowance only ever adds, so that taking one back never lets anybody in. Names decide nothing, only ids do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gateway_app.models.access import Effect, Origin, SubjectKind
from gateway_app.sessions.source import ChatType, SessionSource

ANYONE = "*"

RuleKey = tuple[str, str, str, str]
"""Effect, kind of subject, platform (empty: every one) and id."""


class Ground(StrEnum):
    """The layers, in the order in which they are asked."""

    BANNED = "banned"
    CHATS_DISABLED = "chats disabled"
    CHAT_ALLOWED = "chat allowed"
    BOT_ALLOWED = "bot allowed"
    BOT = "bot"
    NO_ID = "no id"
    PLATFORM_ALLOW_ALL = "everybody on the platform"
    PAIRED = "paired"
    CHATS_OPEN = "chats open"
    PLATFORM_LIST = "on the platform's list"
    ALLOWED = "allowed"
    GATEWAY_LIST = "on the gateway's list"
    GATEWAY_ALLOW_ALL = "everybody"
    NOTHING = "nothing allows"


@dataclass(frozen=True, slots=True)
class RuleFact:
    """An active row of `AccessRule`."""

    row_id: int
    origin: str = Origin.MANUAL.value
    expires_at: datetime | None = None

    def is_in_force(self, at: datetime) -> bool:
        return self.expires_at is None or at < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformFacts:
    """What the configuration says of one platform; ids as the platform has them."""

    allowed_users: frozenset[str] = frozenset()
    allow_all_users: bool = False
    allow_bots: str = "none"
    """`none`, `mentions` (those that address the agent) or `all`."""
    dm_policy: str = "pairing"
    """`pairing`, `allowlist`, `open` or `disabled`."""
    group_policy: str = "allowlist"
    """`allowlist`, `open` or `disabled`, for everything but direct messages."""
    allow_from: frozenset[str] = frozenset()
    """People, in direct messages."""
    group_allow_from: frozenset[str] = frozenset()
    """People, everywhere else."""
    group_allowed_chats: frozenset[str] = frozenset()
    """Chats in which everybody may speak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a decision depends on beside the sender and the time."""

    platforms: Mapping[str, PlatformFacts] = field(default_factory=dict)
    allowed_users: frozenset[str] = frozenset()
    allow_all_users: bool = False
    rules: Mapping[RuleKey, RuleFact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a sender may speak, and the rule that decided."""

    is_allowed: bool
    ground: Ground
    rule: str
    """The rule in words, such as the name of the setting."""
    setting: str = ""
    """The configuration's setting that decided, by its variable's name."""
    rule_id: int | None = None
    """The row of `AccessRule` that decided."""
    expires_at: datetime | None = None
    """When the row that decided ends."""


UNKNOWN_PLATFORM = PlatformFacts()


def decide(source: SessionSource, facts: Facts, *, at: datetime) -> Decision:
    """The decision for whoever wrote `source`, at the time `at`."""
    asked = Asked(source, facts, at)
    if banned := asked.rule(Effect.DENY, SubjectKind.USER) or asked.rule(Effect.DENY, SubjectKind.CHAT):
        return by_row(False, Ground.BANNED, *banned)
    if asked.policy == "disabled":
        return asked.by_setting(False, Ground.CHATS_DISABLED, asked.policy_name, " is disabled")
    if not asked.is_direct and (found := _chat_allowed(asked)):
        return found
    if source.is_bot:
        return _bot(asked)
    if not asked.ids:
        return Decision(False, Ground.NO_ID, "sender without an id")
    return _person_allowed(asked) or Decision(False, Ground.NOTHING, "nothing allows the sender")


def identities(source: SessionSource) -> tuple[str, ...]:
    """The sender's ids: the platform's, and its stable alternative where it has one."""
    return tuple(identity for identity in (source.user_id, source.user_id_alt) if identity)


class Asked:
    """One question: the sender, the facts about their platform, and where to look."""

    def __init__(self, source: SessionSource, facts: Facts, at: datetime) -> None:
        self.source = source
        self.facts = facts
        self.at = at
        self.ids = identities(source)
        self.is_direct = source.chat_type is ChatType.DM
        self.platform = facts.platforms.get(source.platform, UNKNOWN_PLATFORM)
        self.policy = self.platform.dm_policy if self.is_direct else self.platform.group_policy
        self.policy_name = "DM_POLICY" if self.is_direct else "GROUP_POLICY"
        self.own_list = self.platform.allow_from if self.is_direct else self.platform.group_allow_from
        """The list that is asked in chats of this kind only."""
        self.own_list_name = "ALLOW_FROM" if self.is_direct else "GROUP_ALLOWED_USERS"

    def rule(self, effect: Effect, subject: SubjectKind) -> tuple[RuleKey, RuleFact] | None:
        """The first row in force about the sender or the chat. The wildcard stands for everybody, or every group."""
        for key in self.keys(effect, subject):
            row = self.facts.rules.get(key)
            if row and row.is_in_force(self.at):
                return key, row
        return None

    def keys(self, effect: Effect, subject: SubjectKind) -> Iterator[RuleKey]:
        """The rows that would be about the sender or the chat, in the order in which they are looked for."""
        if subject is SubjectKind.CHAT:
            names: tuple[str, ...] = (self.source.chat_id,) if self.is_direct else (self.source.chat_id, ANYONE)
            platforms: tuple[str, ...] = (self.source.platform,)
        else:
            names = (*self.ids, ANYONE)
            platforms = (self.source.platform, "")
        for name in names:
            for platform in platforms:
                yield effect.value, subject.value, platform, name

    def is_listed(self, names: frozenset[str]) -> bool:
        return ANYONE in names or not names.isdisjoint(self.ids)

    def by_setting(self, is_allowed: bool, ground: Ground, name: str, words: str = "") -> Decision:
        setting = self.setting(name)
        return Decision(is_allowed, ground, f"{setting}{words}", setting=setting)

    def setting(self, name: str) -> str:
        """The variable of the platform's setting."""
        return f"{self.source.platform.upper()}_{name}"


def _chat_allowed(asked: Asked) -> Decision | None:
    chats = asked.platform.group_allowed_chats
    if ANYONE in chats or asked.source.chat_id in chats:
        return asked.by_setting(True, Ground.CHAT_ALLOWED, "GROUP_ALLOWED_CHATS")
    found = asked.rule(Effect.ALLOW, SubjectKind.CHAT)
    return by_row(True, Ground.CHAT_ALLOWED, *found) if found else None


def _bot(asked: Asked) -> Decision:
    bots = asked.platform.allow_bots
    if asked.ids and (bots == "all" or (bots == "mentions" and asked.source.is_mention)):
        return asked.by_setting(True, Ground.BOT_ALLOWED, "ALLOW_BOTS", f" is {bots}")
    return Decision(False, Ground.BOT, "sender is a bot")


def _person_allowed(asked: Asked) -> Decision | None:
    platform = asked.platform
    if platform.allow_all_users:
        return asked.by_setting(True, Ground.PLATFORM_ALLOW_ALL, "ALLOW_ALL_USERS")
    row = asked.rule(Effect.ALLOW, SubjectKind.USER)
    if row and row[1].origin == Origin.PAIRING:
        return by_row(True, Ground.PAIRED, *row)
    if asked.policy == "open":
        return asked.by_setting(True, Ground.CHATS_OPEN, asked.policy_name, " is open")
    if asked.is_listed(platform.allowed_users):
        return asked.by_setting(True, Ground.PLATFORM_LIST, "ALLOWED_USERS")
    if asked.is_listed(asked.own_list):
        return asked.by_setting(True, Ground.PLATFORM_LIST, asked.own_list_name)
    if row:
        return by_row(True, Ground.ALLOWED, *row)
    if asked.is_listed(asked.facts.allowed_users):
        setting = "GATEWAY_ALLOWED_USERS"
        return Decision(True, Ground.GATEWAY_LIST, setting, setting=setting)
    if asked.facts.allow_all_users:
        setting = "GATEWAY_ALLOW_ALL_USERS"
        return Decision(True, Ground.GATEWAY_ALLOW_ALL, setting, setting=setting)
    return None


def by_row(is_allowed: bool, ground: Ground, key: RuleKey, row: RuleFact) -> Decision:
    """The decision that a row makes."""
    effect, _, platform, name = key
    said = "pairing" if row.origin == Origin.PAIRING else f"{effect} rule"
    words = f"{said} #{row.row_id} ({name} on {platform or 'every platform'})"
    return Decision(is_allowed, ground, words, rule_id=row.row_id, expires_at=row.expires_at)
