"""A cheap estimate of how many tokens a text is for a model."""

from __future__ import annotations

PER_MESSAGE = 4
"""What a message costs beside its text, in the chat formats of common models."""


def estimate(text: str) -> int:
    """Tokens of one message with this text: a token for each 4 bytes of UTF-8, the usual rule of thumb.

    Bytes rather than characters, so that scripts whose characters are a token each are not underestimated.
    """
    return len(text.encode("utf-8", "replace")) // 4 + 1 + PER_MESSAGE
