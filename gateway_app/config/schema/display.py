from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from gateway_app.config.kinds import Caret, ChatModes, Flag, Number, Switch, Whole, Word
from gateway_app.config.setting import Section, setting

ToolProgress = Annotated[Literal["", "off", "new", "all", "verbose"], Word]


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
    streaming: Switch = setting("{P}_STREAMING", key="display.platforms.{p}.streaming", is_live=True)
    """Whether a reply is shown while it is written. Empty: as everywhere else."""
    tool_progress: ToolProgress = setting("{P}_TOOL_PROGRESS", key="display.platforms.{p}.tool_progress", is_live=True)
    """Which lines say what the agent's tools do. Empty: as everywhere else."""
    show_reasoning: Switch = setting("{P}_SHOW_REASONING", key="display.platforms.{p}.show_reasoning", is_live=True)
    """Whether people see what a model thinks before it answers. Empty: as everywhere else."""


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
    tool_progress: ToolProgress = setting("HERMES_TOOL_PROGRESS", is_live=True)
    """Which lines say what the agent's tools do while it works: none; one when another tool begins; one for each call;
    the same with all arguments. Empty: each platform's own, `all` in the web chat and none elsewhere."""
    show_reasoning: Flag = setting("HERMES_SHOW_REASONING", False, is_live=True)
    """People see what a model thinks before it answers, where it says so. It never becomes part of the reply."""
    platforms: Mapping[str, PlatformDisplay]
    """The same for each platform, by its name."""


class Streaming(Section):
    """How a reply is shown while it is written."""

    key = "streaming"
    heading = "Streaming"

    enabled: Switch = setting("HERMES_STREAMING", is_live=True)
    """Whether a reply is shown while it is written. Where a chat has only messages, that is a preview which is edited.
    Empty: each platform's own, on in the web chat and off elsewhere, since previews count against a bot's limits."""
    edit_interval: Number = setting("HERMES_STREAMING_EDIT_INTERVAL", 0.8, least=0.05, most=60, is_live=True)
    """Seconds from the first word to the preview, and between two of its edits; more where a platform asks for it. An
    answer that is quicker costs no preview."""
    buffer_threshold: Whole = setting("HERMES_STREAMING_BUFFER_THRESHOLD", 24, most=4000, is_live=True)
    """Characters that a reply has at least before it gets a preview: a word or two tell nobody anything."""
    cursor: Caret = setting("HERMES_STREAMING_CURSOR", " ▉", is_live=True)
    """Stands at a preview's end, so that everybody sees that it goes on."""
    edits_per_second: Whole = setting("HERMES_STREAMING_EDITS_PER_SECOND", 10, is_live=True)
    """Previews and edits of one worker process in a second; Telegram takes 30 calls of a bot, and replies matter
    more."""
