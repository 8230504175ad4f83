"""The tools that come with the gateway, one module each."""

from __future__ import annotations

import functools

from gateway_app.agent.registry import Registry
from gateway_app.sessions.source import SessionContext

from . import current_time, session_search, tool_output


def registry(context: SessionContext) -> Registry:
    """The tools that the agent may call in the session of `context`."""
    return shipped()


@functools.cache
def shipped() -> Registry:
    """The tools of this process."""
    return Registry([current_time.TOOL, session_search.TOOL, tool_output.TOOL])
