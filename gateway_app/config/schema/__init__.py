"""The schema of the configuration: every setting with its variable, key, limits, default and reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from gateway_app.config.setting import Section

from .access import Access, Limits
from .agent import Agents
from .approvals import Approvals
from .context import Compression, Privacy
from .display import Display, Streaming
from .fleet import Fleet
from .health import Health
from .honcho import Honcho
from .mcp import Mcp
from .media import Media, SpeechToText, TextToSpeech
from .memory import Memory
from .model import Model
from .pipeline import Delivery, Lanes, Listeners, Turns
from .platforms import Platforms
from .quick import QuickCommands
from .recall import Recall
from .sessions import SessionReset, Sessions
from .site import Installation, Site
from .stores import Broker, Database, Workers
from .tools import Tools

DEFAULT = "default"
"""Where a value comes from that nobody gave."""


class Config(Section):
    """The whole configuration. Nothing in it ever changes: a new one takes its place.

    `origins` says for each variable that was given where: `environment HERMES_WORKERS`, `config.yaml
    workers.processes`. `warnings` are what the operator should hear of once, such as unknown keys. `stamps` are those
    of the files it was read from.
    """

    installation: Installation
    site: Site
    database: Database
    broker: Broker
    workers: Workers
    lanes: Lanes
    turns: Turns
    model: Model
    tools: Tools
    approvals: Approvals
    mcp: Mcp
    media: Media
    stt: SpeechToText
    tts: TextToSpeech
    sessions: Sessions
    session_reset: SessionReset
    compression: Compression
    memory: Memory
    privacy: Privacy
    honcho: Honcho
    recall: Recall
    delivery: Delivery
    listeners: Listeners
    platforms: Platforms
    access: Access
    agents: Agents
    quick: QuickCommands
    limits: Limits
    display: Display
    streaming: Streaming
    fleet: Fleet
    health: Health
    _mask_wrapped: ClassVar[bool] = True  # Django's settings ask each value for it; pydantic would search long
    origins: Mapping[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    stamps: tuple[tuple[int, int, int] | None, ...] = ()

    def origin(self, variable: str) -> str:
        """Where the value of `variable` comes from, for example `config.yaml platforms.telegram.allow_from`."""
        return self.origins.get(variable, DEFAULT)

    def is_given(self, variable: str) -> bool:
        """Whether somebody gave `variable` a value, in whichever source."""
        return variable in self.origins

    def changed(self, **changes: Any) -> Config:
        """A copy with `changes` merged into it, level by level, and validated."""
        return type(self).model_validate(_merged(self.model_dump(), changes))


def _merged(base: Any, changes: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(changes, Mapping)):
        return changes
    return base | {name: _merged(base.get(name), value) for name, value in changes.items()}
