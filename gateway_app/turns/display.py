"""What a chat shows of a turn before its reply: that while it is written, what tools do, what the model thinks."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_app.config import live
from gateway_app.config.schema.display import PlatformDisplay
from gateway_app.platforms.base import Platform
from gateway_app.sessions.overrides import Overrides

LONGEST_THOUGHT = 1_000
"""Characters of a thought that stand above a reply; the rest would hide it."""
THOUGHT = "💭 **Reasoning**\n```\n{thought}\n```\n\n{reply}"


@dataclass(frozen=True, slots=True)
class Display:
    """How a turn is shown."""

    is_streamed: bool
    """The reply is shown while it is written."""
    tool_progress: str
    """Which lines say what tools do: `off`, `new`, `all` or `verbose`."""
    shows_reasoning: bool


def display_of(platform: Platform, *, overrides: Overrides | None = None, is_beside: bool = False) -> Display:
    """By what the session has set, else the platform's settings, else those for everywhere, else the platform.

    Of work that `is_beside` the conversation only the reply is shown: a chat shows one being written at a time.
    """
    config = live.config()
    own = config.display.platforms.get(platform.name) or PlatformDisplay()
    can_show = (platform.is_streamed or platform.can_edit) and not is_beside
    streaming = own.streaming or config.streaming.enabled or ("on" if platform.is_streamed else "off")
    chosen = overrides or Overrides()
    progress = chosen.tool_progress or own.tool_progress or config.display.tool_progress or platform.tool_progress
    reasoning = chosen.show_reasoning
    if reasoning is None:
        reasoning = own.show_reasoning == "on" if own.show_reasoning else config.display.show_reasoning
    return Display(
        is_streamed=can_show and streaming == "on",
        tool_progress=progress if can_show else "off",
        shows_reasoning=reasoning,
    )


def with_thoughts(reply: str, *, thoughts: list[str]) -> str:
    """The reply below what the model thought, for chats that have no other place for it."""
    thought = "\n\n".join(thoughts).replace("```", "'''").strip()
    if not thought or not reply:
        return reply
    cut = f"{thought[:LONGEST_THOUGHT].rstrip()} …" if len(thought) > LONGEST_THOUGHT else thought
    return THOUGHT.format(thought=cut, reply=reply)
