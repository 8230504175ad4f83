"""Which models answer in a session: the nearest setting decides on the first, and the fallbacks are everybody's."""

from __future__ import annotations

from django.conf import settings

from gateway_app.config.schema import Config
from gateway_app.sessions.source import SessionContext


def models_for(context: SessionContext, config: Config) -> tuple[str, ...]:
    """The models that are asked in the session of `context`, in their order: its chat's, its platform's, or
    HERMES_MODEL, and then the fallbacks.
    """
    chosen = ""
    if agent := config.agents.platforms.get(context.platform):
        chosen = dict(agent.channel_overrides).get(context.chat_id) or agent.model
    return tuple(dict.fromkeys([chosen or settings.HERMES_MODEL, *settings.MODEL_FALLBACKS]))
