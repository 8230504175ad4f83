from __future__ import annotations

from typing import Annotated, Literal

from gateway_app.config.kinds import Flag, TimeZone, Whole, Word
from gateway_app.config.setting import Section, setting

from .resets import LONGEST_IDLE_MINUTES, ByPlatform, ByType


class Sessions(Section):
    heading = "Sessions"

    group_sessions_per_user: Flag = setting("HERMES_GROUP_SESSIONS_PER_USER", True)
    """In groups and channels each person has a conversation of their own; off: one that all of them share."""
    thread_sessions_per_user: Flag = setting("HERMES_THREAD_SESSIONS_PER_USER", False)
    """The same for threads and topics, which are shared by default: people open them to talk about one thing."""
    history_max_messages: Whole = setting(
        "HERMES_HISTORY_MAX_MESSAGES", 200, key="sessions.history_max_messages", least=1
    )
    """Most messages of history sent with a turn, however short; the token budget usually ends it earlier."""
    background_max: Whole = setting("HERMES_BACKGROUND_MAX", 5, key="sessions.background_max", is_live=True)
    """Requests of one person that are worked on beside a conversation at once. Each takes a place in the workers, and
    money. 0: none."""
    timezone: TimeZone = setting("HERMES_TIMEZONE", "UTC", is_live=True)
    """Where a day begins and ends, for the daily reset and for what was used today."""


class SessionReset(Section):
    """When a conversation is put aside by itself and the next message begins another one."""

    key = "session_reset"
    heading = "Resets by the clock"

    mode: Annotated[Literal["none", "idle", "daily", "both"], Word] = setting(
        "HERMES_SESSION_RESET_MODE", "none", is_live=True
    )
    """Never, after a while in which nothing was said, once a day, or whichever of the two comes first. Nothing is
    deleted: an earlier conversation can be resumed."""
    at_hour: Whole = setting("SESSION_RESET_HOUR", 4, most=23, is_live=True)
    """The hour of the day of the daily reset, in the time zone of the gateway. Early morning, since few are awake."""
    idle_minutes: Whole = setting("SESSION_IDLE_MINUTES", 1440, least=1, most=LONGEST_IDLE_MINUTES, is_live=True)
    """Minutes without a message after which a conversation counts as over."""
    notify: Flag = setting("HERMES_SESSION_RESET_NOTIFY", True, is_live=True)
    """Whether a person is told, with their next message, that their conversation was reset. The model always is."""
    by_type: ByType = setting("HERMES_SESSION_RESET_BY_TYPE", (), key="reset_by_type", is_live=True)
    """Other values of these settings for kinds of chats, such as `{group: {mode: idle, idle_minutes: 60}}`."""
    by_platform: ByPlatform = setting("HERMES_SESSION_RESET_BY_PLATFORM", (), key="reset_by_platform", is_live=True)
    """Other values for platforms, such as `{telegram: {mode: daily}}`; they are stronger than those for kinds of
    chats."""
