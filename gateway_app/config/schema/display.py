from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from gateway_app.config.kinds import ChatModes, Number, Word
from gateway_app.config.setting import Section, setting


class PlatformDisplay(Section):
    """How the agent behaves in the chats of one platform."""

    key = "platforms.{p}"
    heading = "Behaviour on one platform"

    busy_mode: Annotated[Literal["", "collect", "queue", "steer", "interrupt"], Word] = setting(
        "{P}_BUSY_MODE", is_live=True
    )
    """What becomes of a message that comes while the agent works on an earlier one. Empty: as everywhere else."""
    busy_modes: ChatModes = setting("{P}_BUSY_MODES", (), is_live=True)
    """The same for single chats, by their id; in a file also a mapping, `{"-1001234": queue}`."""


class Display(Section):
    """How the agent behaves in chats."""

    key = "display"
    heading = "Behaviour in chats"

    busy_input_mode: Annotated[Literal["collect", "queue", "steer", "interrupt"], Word] = setting(
        "HERMES_GATEWAY_BUSY_INPUT_MODE", "collect", is_live=True
    )
    """What becomes of a message that comes while the agent works on an earlier one: it waits and is answered together
    with what else waits; it waits and is answered by itself; it joins the work at the next step; it stops the work."""
    notify_seconds: Number = setting(
        "HERMES_GATEWAY_NOTIFY_SECONDS",
        180,
        key="agent.gateway_notify_interval",
        alias="display.gateway_notify_interval",
        is_live=True,
    )
    """A chat whose answer takes long is told so this often. 0: never."""
    platforms: Mapping[str, PlatformDisplay]
    """The same for each platform, by its name."""
