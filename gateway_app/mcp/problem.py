from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """What is known of a call that failed, in words for the model."""

    NONE = "The call was not made."
    UNKNOWN = "Whether the call took effect is unknown. Do not make it again without checking."
    ANSWERED = "The call was made."


class McpProblem(Exception):
    """Why a server cannot be used, in words that operators and models may read: nothing secret is in them."""

    def __init__(self, text: str, *, effect: Effect = Effect.NONE) -> None:
        super().__init__(text)
        self.effect = effect
