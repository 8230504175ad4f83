"""Which slash commands a person may run: pure, over what the configuration says of their platform.

Only commands are gated, never plain messages. Direct messages and all other chats have lists of their own; where a
scope's list names no admin, nothing is gated in it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from gateway_app.access.decision import ANYONE, identities
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.sessions.source import ChatType, SessionSource

ALWAYS_ALLOWED = frozenset({"help", "whoami"})
"""Without these nobody could find out what they may run, or which id to give to an operator."""


class Scope(StrEnum):
    """The two kinds of places that have lists of their own."""

    DM = "dm"
    GROUP = "group"
    """Every chat that is no direct message: groups, channels and threads."""


class Tier(StrEnum):
    """How a person stands with commands in a scope."""

    UNGATED = "ungated"
    """No admins are listed, so everybody may run everything."""
    ADMIN = "admin"
    USER = "user"


@dataclass(frozen=True, slots=True)
class CommandDecision:
    """Whether a person may run a command, and the rule that decided."""

    is_allowed: bool
    tier: Tier
    rule: str
    """The rule in words, such as the name of the setting. It names no person."""


def scope_of(source: SessionSource) -> Scope:
    return Scope.DM if source.chat_type is ChatType.DM else Scope.GROUP


def tier_of(source: SessionSource, access: PlatformAccess) -> Tier:
    """The tier of whoever wrote `source`, in the scope of the chat they wrote in.

    `*` makes everybody who has an id an admin, as it stands for everybody in every other list of people.
    """
    admins = access.allow_admin_from if scope_of(source) is Scope.DM else access.group_allow_admin_from
    if not admins:
        return Tier.UNGATED
    ids = identities(source)
    return Tier.ADMIN if ids and (ANYONE in admins or not set(admins).isdisjoint(ids)) else Tier.USER


def may_run(
    source: SessionSource,
    command: str,
    access: PlatformAccess,
    *,
    aliases: Collection[str] = (),
    for_admins: bool = False,
) -> CommandDecision:
    """The decision for whoever wrote `source` on the command of this name; a list may name it by an alias as well.

    Where it is `for_admins` no list allows it to others.
    """
    scope, tier = scope_of(source), tier_of(source, access)
    platform = source.platform.upper()
    admins = f"{platform}_ALLOW_ADMIN_FROM" if scope is Scope.DM else f"{platform}_GROUP_ALLOW_ADMIN_FROM"
    if tier is Tier.UNGATED:
        return CommandDecision(True, tier, f"{admins} names nobody")
    if tier is Tier.ADMIN:
        return CommandDecision(True, tier, admins)
    if for_admins:
        return CommandDecision(False, tier, f"for those in {admins} alone")
    if command in ALWAYS_ALLOWED:
        return CommandDecision(True, tier, "always allowed")
    listed, setting = access.group_user_allowed_commands, f"{platform}_GROUP_USER_ALLOWED_COMMANDS"
    if scope is Scope.DM and access.user_allowed_commands:
        listed, setting = access.user_allowed_commands, f"{platform}_USER_ALLOWED_COMMANDS"
    if not _plain(listed).isdisjoint({command, *aliases}):
        return CommandDecision(True, tier, setting)
    return CommandDecision(False, tier, f"not in {setting}")


def _plain(commands: Collection[str]) -> set[str]:
    """Names as they are compared: `/Model` is `model`."""
    return {name.strip().lower().removeprefix("/") for name in commands}
