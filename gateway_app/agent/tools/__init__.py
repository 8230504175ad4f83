"""The tools that come with the gateway, one module each."""

from __future__ import annotations

import functools

from gateway_app.agent.registry import Registry

from . import current_time, session_search


@functools.cache
def registry() -> Registry:
    """The tools of this process."""
    return Registry([current_time.TOOL, session_search.TOOL])
