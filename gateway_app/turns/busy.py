"""Busy modes: what becomes of a message that comes while its session's turn runs."""

from __future__ import annotations

import functools

from gateway_app.config import live
from gateway_app.config.schema.display import PlatformDisplay
from gateway_app.models.inbox import BusyMode
from gateway_app.sessions.source import SessionSource


def mode_of(source: SessionSource) -> BusyMode:
    """The mode of messages in the chat of `source`: the chat's own, else its platform's, else the gateway's."""
    display = live.config().display
    platform = display.platforms.get(source.platform) or PlatformDisplay()
    chats = _by_chat(platform.busy_modes) if platform.busy_modes else {}
    return BusyMode(chats.get(source.chat_id) or platform.busy_mode or display.busy_input_mode)


@functools.lru_cache(maxsize=64)
def _by_chat(entries: tuple[str, ...]) -> dict[str, str]:
    """The modes by chat id, from entries `chat=mode`; an id may hold `=` itself."""
    return {chat: mode for chat, _, mode in (entry.rpartition("=") for entry in entries)}
