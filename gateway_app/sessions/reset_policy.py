"""When a session is over by the clock: a pure decision over the configuration and two moments."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway_app.config import live
from gateway_app.config.schema import Config
from gateway_app.duration import duration
from gateway_app.models.session import EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings of `session_reset` that hold for a chat."""

    mode: str
    """`none`, `idle`, `daily` or `both`."""
    at_hour: int
    idle_minutes: int
    notify: bool
    """The person is told of it with their next message."""
    timezone: str

    def over(self, *, active_at: datetime, at: datetime) -> EndReason | None:
        """Why a session in which something was last said at `active_at` is over at the moment `at`, if it is."""
        if self.mode in ("idle", "both") and at - active_at >= timedelta(minutes=self.idle_minutes):
            return EndReason.IDLE
        if self.mode in ("daily", "both") and active_at < self._boundary(at):
            return EndReason.DAILY
        return None

    def _boundary(self, at: datetime) -> datetime:
        """The last reset hour before `at`."""
        zone = zoneinfo.ZoneInfo(self.timezone)
        local = at.astimezone(zone)
        # Compared in UTC: in one zone Python compares what clocks show, which is wrong where they are put back.
        today = local.replace(hour=self.at_hour, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)
        if today <= at:
            return today
        yesterday = (local - timedelta(days=1)).replace(hour=self.at_hour, minute=0, second=0, microsecond=0, fold=0)
        return yesterday.astimezone(UTC)

    def why(self, reason: str) -> str:
        """The reason in words."""
        if reason == EndReason.IDLE:
            return f"nothing was said for {duration(self.idle_minutes * 60)}"
        return f"the daily reset at {self.at_hour:02}:00 {self.timezone}"


def policy_for(*, platform: str, chat_type: str) -> Policy:
    """The policy in force for a kind of chat on a platform: the platform's settings, then the kind's, then the rest."""
    return _policy(live.config(), platform, chat_type)


def is_anywhere() -> bool:
    """Whether any session at all may end by the clock."""
    return _is_anywhere(live.config())


def _policy(config: Config, platform: str, chat_type: str) -> Policy:
    found = config.session_reset
    policy = Policy(
        mode=found.mode,
        at_hour=found.at_hour,
        idle_minutes=found.idle_minutes,
        notify=found.notify,
        timezone=config.sessions.timezone,
    )
    changes: dict[str, Any] = {}
    for entries, wanted in ((found.by_type, chat_type), (found.by_platform, platform)):
        changes |= {field: value for name, field, value in entries if name == wanted}
    return replace(policy, **changes)


def _is_anywhere(config: Config) -> bool:
    found = config.session_reset
    entries = (*found.by_type, *found.by_platform)
    return found.mode != "none" or any(field == "mode" and value != "none" for _, field, value in entries)


def notice(policy: Policy, *, reason: str, session_id: str) -> str:
    """What the person is told. `session_id` is the session that was put aside."""
    return (
        f"◐ Session automatically reset ({policy.why(reason)}). Nothing is lost: `/resume {session_id}` goes back to"
        " the conversation before this one, and /sessions lists them all. Adjust reset timing in config.yaml under"
        " session_reset."
    )


def note(policy: Policy, *, reason: str) -> str:
    """What the model is told, once, with the person's message."""
    return (
        f"[Note of the gateway: the conversation before this one was put aside by itself ({policy.why(reason)})."
        " This message begins a new one, and what was said before is not shown here.]"
    )
