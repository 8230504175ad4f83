"""What a turn used of its models, and what that cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from gateway_app import metrics
from gateway_app.config.mappings import Price
from gateway_app.models.turn import StepKind
from gateway_app.turns.journal import Step

from .model_reply import TOKENS_MAX, ModelReply

COST_MAX = 2**63 - 1
"""What the column holds."""


@dataclass(slots=True)
class Usage:
    """The sum of a turn's model calls."""

    model: str = ""
    """That answered last."""
    model_calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompts' tokens, those that the server had in its cache."""
    completion_tokens: int = 0
    model_seconds: float = 0.0
    _tokens: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By model and kind: a turn may have had answers of several."""

    @classmethod
    def of(cls, steps: Iterable[Step]) -> Usage:
        """What a journal says was used, for a turn that came to no end."""
        found = cls()
        for step in steps:
            if step.kind is StepKind.MODEL_REPLY:
                found.add(ModelReply.from_json(step.payload))
        return found

    def add(self, reply: ModelReply) -> None:
        """Adds one model call."""
        self.model = reply.model
        self.model_calls += 1
        self.prompt_tokens = min(self.prompt_tokens + reply.prompt_tokens, TOKENS_MAX)
        self.cached_tokens = min(self.cached_tokens + reply.cached_tokens, TOKENS_MAX)
        self.completion_tokens = min(self.completion_tokens + reply.completion_tokens, TOKENS_MAX)
        self.model_seconds += reply.seconds
        self._tokens[reply.model, "input"] += reply.prompt_tokens - reply.cached_tokens
        self._tokens[reply.model, "cached"] += reply.cached_tokens
        self._tokens[reply.model, "output"] += reply.completion_tokens

    def cost_micros(self, prices: Iterable[Price]) -> int | None:
        """What it cost, in millionths of the prices' currency; None where one of the models has no price."""
        by_model = {price.model: price for price in prices}
        if not self._tokens or any(model not in by_model for model, _ in self._tokens):
            return None
        # A price is for a million tokens, so a token costs as many millionths.
        cost = sum(
            (count * Decimal(getattr(by_model[model], kind)) for (model, kind), count in self._tokens.items()),
            start=Decimal(0),
        )
        return min(int(cost.to_integral_value(ROUND_HALF_UP)), COST_MAX)


def count(reply: ModelReply) -> None:
    """Counts a model call for /metrics."""
    metrics.MODEL_SECONDS.labels(model=reply.model).inc(reply.seconds)
    metrics.MODEL_TOKENS.labels(model=reply.model, kind="prompt").inc(reply.prompt_tokens)
    metrics.MODEL_TOKENS.labels(model=reply.model, kind="cached").inc(reply.cached_tokens)
    metrics.MODEL_TOKENS.labels(model=reply.model, kind="completion").inc(reply.completion_tokens)
