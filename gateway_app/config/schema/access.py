from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from gateway_app.config.kinds import Commands, Flag, Number, Whole, Word, Words
from gateway_app.config.setting import Section, setting


class PlatformAccess(Section):
    """Who may speak to the agent on one platform."""

    key = "platforms.{p}"
    heading = "Access on one platform"

    allowed_users: Words = setting("{P}_ALLOWED_USERS", (), is_live=True)
    """User ids that may speak to the agent here, in direct messages and in groups: Telegram's numbers, the site's user
    names, the system's user names. `*` is everybody."""
    allow_all_users: Flag = setting("{P}_ALLOW_ALL_USERS", False, is_live=True)
    """Lets everybody speak to the agent on this platform."""
    allow_bots: Annotated[Literal["none", "mentions", "all"], Word] = setting("{P}_ALLOW_BOTS", "none", is_live=True)
    """Other bots: never, where they mention the agent, or always. Two bots that answer each other never end."""
    dm_policy: Annotated[Literal["pairing", "allowlist", "open", "disabled"], Word] = setting(
        "{P}_DM_POLICY", "pairing", is_live=True
    )
    """Direct messages of people on no list: they get a pairing code, are denied, are let in, or direct messages are not
    taken at all. `open` needs an allow-all."""
    group_policy: Annotated[Literal["allowlist", "open", "disabled"], Word] = setting(
        "{P}_GROUP_POLICY", "allowlist", is_live=True
    )
    """Groups and channels: those on a list, everybody, or nobody. `open` needs an allow-all."""
    allow_from: Words = setting("{P}_ALLOW_FROM", (), is_live=True)
    """User ids that may speak to the agent in direct messages alone."""
    group_allow_from: Words = setting("{P}_GROUP_ALLOWED_USERS", (), is_live=True)
    """User ids that may speak to the agent in groups alone."""
    group_allowed_chats: Words = setting(
        "{P}_GROUP_ALLOWED_CHATS", (), alias="platforms.{p}.allowed_chats", is_live=True
    )
    """Ids of groups and channels in which everybody may speak to the agent."""
    unauthorized_dm_behavior: Annotated[Literal["", "pair", "ignore"], Word] = setting(
        "{P}_UNAUTHORIZED_DM_BEHAVIOR", is_live=True
    )
    """What an unknown person's direct message gets on this platform: a pairing code, or nothing. Empty: as everywhere
    else."""
    allow_admin_from: Words = setting("{P}_ALLOW_ADMIN_FROM", (), is_live=True)
    """User ids that may use every slash command in direct messages. Empty: everybody who is let in may."""
    user_allowed_commands: Commands = setting("{P}_USER_ALLOWED_COMMANDS", (), is_live=True)
    """Slash commands that others may use in direct messages, beside `help` and `whoami`. Empty: those of groups."""
    group_allow_admin_from: Words = setting("{P}_GROUP_ALLOW_ADMIN_FROM", (), is_live=True)
    """User ids that may use every slash command in groups. Empty: everybody who is let in may."""
    group_user_allowed_commands: Commands = setting("{P}_GROUP_USER_ALLOWED_COMMANDS", (), is_live=True)
    """Slash commands that others may use in groups, beside `help` and `whoami`."""


class Access(Section):
    """Who may speak to the agent. Nobody is allowed unless something here, or a row in the database, says so."""

    heading = "Access"

    allowed_users: Words = setting("GATEWAY_ALLOWED_USERS", (), is_live=True)
    """User ids that may speak to the agent on any platform; `*` is everybody. Nobody is allowed unless a list says
    so."""
    allow_all_users: Flag = setting("GATEWAY_ALLOW_ALL_USERS", False, is_live=True)
    """Lets everybody speak to the agent on every platform."""
    unauthorized_dm_behavior: Annotated[Literal["pair", "ignore"], Word] = setting(
        "GATEWAY_UNAUTHORIZED_DM_BEHAVIOR", "pair", is_live=True
    )
    """What an unknown person's direct message gets: a pairing code, or nothing."""
    check_seconds: Number = setting("HERMES_ACCESS_CHECK_SECONDS", 1, most=60)
    """How often a process looks whether access was changed elsewhere; a ban holds everywhere within twice this."""
    platforms: Mapping[str, PlatformAccess]
    """The same for each platform, by its name."""


class Limits(Section):
    """How many messages are taken. 0 is no limit."""

    key = "limits"
    heading = "Limits"

    sender_per_minute: Whole = setting("HERMES_LIMIT_SENDER_PER_MINUTE", 60, is_live=True)
    """Messages that one person may send in a minute, over all processes. 0: as many as they like."""
    sender_burst: Whole = setting("HERMES_LIMIT_SENDER_BURST", 30, least=1, is_live=True)
    """Messages that one person may send at once after a pause."""
    chat_per_minute: Whole = setting("HERMES_LIMIT_CHAT_PER_MINUTE", 120, is_live=True)
    """Messages that are taken from one chat in a minute, whoever sends them. 0: as many as come."""
    chat_burst: Whole = setting("HERMES_LIMIT_CHAT_BURST", 60, least=1, is_live=True)
    """Messages that are taken from one chat at once after a pause."""
