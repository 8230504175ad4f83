"""Honcho's tools, one module each, and which of them a session has."""

from __future__ import annotations

from gateway_app.config import live as gateway
from gateway_app.sessions.source import SessionContext
from honcho_app import configuration
from honcho_app.names import is_private

from . import conclude, context, profile, reasoning, search

TOOLS = tuple(module.TOOL for module in (profile, search, context, conclude, reasoning))
"""The toolset `honcho`."""
NAMES = frozenset(tool.name for tool in TOOLS)
PRIVATE = frozenset({profile.TOOL.name, reasoning.TOOL.name})
"""What they show cannot be limited to one session, so that they are for direct messages alone."""
SLOW = frozenset({reasoning.TOOL.name})


def withheld(of: SessionContext) -> frozenset[str]:
    """Those of Honcho's tools that the session of a context does not have, by the configuration in force."""
    config = configuration.live()
    if not config.is_active or config.recall_mode == "context":
        return NAMES
    found = frozenset() if gateway.config().honcho.reasoning else SLOW
    return found if is_private(of) else found | PRIVATE
