"""Which models answer in a session: the nearest setting decides on the first, and the fallbacks are everybody's."""

from __future__ import annotations

from django.conf import settings

from gateway_app.config.schema import Config
from gateway_app.sessions.overrides import Overrides
from gateway_app.sessions.source import SessionContext


def models_for(context: SessionContext, config: Config, overrides: Overrides) -> tuple[str, ...]:
    """The models that are asked in the session of `context`, in their order: the one that its people chose, as long as
    they may, its chat's, its platform's, or HERMES_MODEL, and then the fallbacks.
    """
    first = configured_for(context, config)
    if overrides.model and overrides.model in allowed(context, config):
        first = overrides.model
    return tuple(dict.fromkeys([first, *settings.MODEL_FALLBACKS]))


def configured_for(context: SessionContext, config: Config) -> str:
    """The model that answers in the session of `context` where nobody chose another."""
    chosen = ""
    if agent := config.agents.platforms.get(context.platform):
        chosen = dict(agent.channel_overrides).get(context.chat_id) or agent.model
    return chosen or settings.HERMES_MODEL


def allowed(context: SessionContext, config: Config) -> tuple[str, ...]:
    """The models that the people of a session may choose from: those of `model.allowed`, beside what is configured."""
    named = (configured_for(context, config), settings.HERMES_MODEL, *settings.MODEL_FALLBACKS, *config.model.allowed)
    return tuple(dict.fromkeys(named))
