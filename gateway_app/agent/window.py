"""How much of a conversation fits into what the model reads at once, by the estimate of `sessions.tokens`."""

from __future__ import annotations

from django.conf import settings

from gateway_app.sessions import tokens

from .registry import Registry


def room(*, prompt: str, tools: Registry) -> int:
    """Tokens that are left for history and message beside the longest reply, the system prompt and the tools.

    For the reply a quarter of the context is kept at most. Less than nothing where the rest alone is too much.
    """
    context = settings.MODEL_CONTEXT_TOKENS
    reply = min(settings.MODEL_MAX_OUTPUT_TOKENS, context // 4)
    offered = tools.tokens if settings.MODEL_TOOLS else 0
    return int(context - reply - tokens.estimate(prompt) - offered)
