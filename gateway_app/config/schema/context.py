from __future__ import annotations

from gateway_app.config.kinds import Flag, Number, Whole
from gateway_app.config.setting import Section, setting


class Compression(Section):
    key = "compression"
    heading = "Compression of long conversations"

    enabled: Flag = setting("HERMES_COMPRESSION_ENABLED", True, is_live=True)
    """The older part of a long conversation is summed up for the model; off: it is left out, oldest first. The
    demonstration model gets no summaries, which it could not write."""
    threshold: Number = setting("HERMES_COMPRESSION_THRESHOLD", 0.75, least=0.1, most=0.95, is_live=True)
    """The share of the room for the history, in tokens or in messages, from which on its older part is summed up."""
    protect_first: Whole = setting("HERMES_COMPRESSION_PROTECT_FIRST", 1, most=20, is_live=True)
    """Exchanges at the beginning that stay as they are: there people say what the conversation is for."""
    protect_last: Whole = setting("HERMES_COMPRESSION_PROTECT_LAST", 10, least=1, most=100, is_live=True)
    """The newest exchanges that stay as they are, as far as they leave room for the rest; the last one always."""
    timeout_seconds: Number = setting("HERMES_COMPRESSION_TIMEOUT_SECONDS", 60, least=0.1, is_live=True)
    """Longest wait for a summary; then the oldest messages are left out as without one, and it is tried again later."""
    cooldown_seconds: Number = setting("HERMES_COMPRESSION_COOLDOWN_SECONDS", 600, is_live=True)
    """After a summary failed, the session's next one is tried no earlier than this."""


class Privacy(Section):
    key = "privacy"
    heading = "Privacy"

    redact_pii: Flag = setting("HERMES_REDACT_PII", False, is_live=True)
    """The model gets stand-ins for the ids of people and chats, which on some platforms are telephone numbers. Names
    stay as they are, and replies find their way all the same."""
