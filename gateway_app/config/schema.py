"""The schema of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlatformAccess(Section):
    allowed_users: tuple[str, ...] = ()
    allow_all_users: bool = False
    allow_bots: Literal["none", "mentions", "all"] = "none"
    dm_policy: Literal["pairing", "allowlist", "open", "disabled"] = "pairing"
    group_policy: Literal["allowlist", "open", "disabled"] = "allowlist"
    allow_from: tuple[str, ...] = ()
    group_allow_from: tuple[str, ...] = ()
    group_allowed_chats: tuple[str, ...] = ()
    unauthorized_dm_behavior: Literal["", "pair", "ignore"] = ""
    allow_admin_from: tuple[str, ...] = ()
    user_allowed_commands: tuple[str, ...] = ()
    group_allow_admin_from: tuple[str, ...] = ()
    group_user_allowed_commands: tuple[str, ...] = ()


class Access(Section):
    allowed_users: tuple[str, ...] = ()
    allow_all_users: bool = False
    unauthorized_dm_behavior: Literal["pair", "ignore"] = "pair"
    platforms: Mapping[str, PlatformAccess] = {}


class Limits(Section):
    sender_per_minute: int = 60
    sender_burst: int = 30
    chat_per_minute: int = 120
    chat_burst: int = 60


class Config(Section):
    access: Access
    limits: Limits = Limits()

    def origin(self, setting: str) -> str:
        return "environment"
