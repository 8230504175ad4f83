"""Who wrote where: what an adapter knows of a message's origin, and the context that a turn carries."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self


class ChatType(StrEnum):
    DM = "dm"
    GROUP = "group"
    CHANNEL = "channel"
    THREAD = "thread"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSource:
    """The origin of one message, as the platform tells it. Ids are strings, empty where the platform has none."""

    platform: str
    account: str = ""
    chat_id: str
    chat_type: ChatType
    chat_name: str = ""
    thread_id: str = ""
    user_id: str = ""
    user_id_alt: str = ""
    """A second id of the same person that outlives the first (Signal UUID, Feishu union id)."""
    user_name: str = ""
    is_bot: bool = False
    is_mention: bool = False
    """The message addresses the agent: it names it, answers it, or is a command of its."""
    background: str = ""
    """The id of the work beside the conversation that it belongs to; put there by the gateway alone."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        return cls(**values | {"chat_type": ChatType(values["chat_type"])})

    @property
    def participant(self) -> str:
        return self.user_id_alt or self.user_id


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """Everything downstream may know of whose turn it is. Travels as the task's argument, never in a global."""

    session_key: str
    session_id: str
    honcho_session_key: str
    platform: str
    account: str
    chat_id: str
    chat_type: str
    thread_id: str
    user_id: str
    user_name: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, str]) -> Self:
        return cls(**data)
