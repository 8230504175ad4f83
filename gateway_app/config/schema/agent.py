from __future__ import annotations

from collections.abc import Mapping

from gateway_app.config.kinds import Text, Words
from gateway_app.config.mappings import ChannelOverrides, ChannelPrompts, HomeChannel, Personalities
from gateway_app.config.setting import Section, setting


class PlatformAgent(Section):
    """The agent on one platform."""

    key = "platforms.{p}"
    heading = "The agent on one platform"

    tools: Words = setting("{P}_TOOLS", ("*",), is_live=True)
    """Tools that the agent may call in this platform's chats, by name; `*` is all that there are, `mcp_time_*` all that
    begin so."""
    model: Text = setting("{P}_MODEL", is_live=True)
    """The model that answers on this platform. Empty: HERMES_MODEL."""
    channel_overrides: ChannelOverrides = setting("{P}_CHANNEL_OVERRIDES", (), is_live=True)
    """What is different in single chats, by their ids: `{"-100123": {"model": "gpt-5-nano"}}`."""
    channel_prompts: ChannelPrompts = setting("{P}_CHANNEL_PROMPTS", (), is_live=True)
    """What the model is told in single chats, by their ids: `{"-100123": "Answer in French."}`."""
    home_channel: HomeChannel = setting("{P}_HOME_CHANNEL", None, is_live=True)
    """The platform's home channel, which is meant where no chat is named: a chat's id, or
    `{"chat_id": "-100123", "name": "Family", "thread_id": "7"}`."""


class Agents(Section):
    """The agent: as whom it can answer, and how platforms differ."""

    key = "agent"
    heading = "The agent"

    personalities: Personalities = setting("HERMES_PERSONALITIES", (), is_live=True)
    """What the model is told beside who it is where people choose it for their conversation with /personality, by names
    of your choice: `{pirate: "Speak like a pirate."}`."""
    platforms: Mapping[str, PlatformAgent]
    """By the platform's name."""
