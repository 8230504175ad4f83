"""The tools that come with the gateway, one module each."""

from __future__ import annotations

import functools

from gateway_app.agent.registry import Registry
from gateway_app.config import live
from gateway_app.config.schema import Config
from gateway_app.sessions.source import SessionContext

from . import current_time, memory, session_search, todo, tool_output, web_fetch

ALL = "*"


def registry(context: SessionContext) -> Registry:
    """The tools that the agent may call in the session of `context`, by the configuration in force now."""
    return _only(allowed(context.platform, live.config()))


def allowed(platform: str, config: Config) -> frozenset[str]:
    """The names of the tools that are switched on for a platform; a name that there is not switches nothing."""
    named = frozenset(config.agents.platforms[platform].tools if platform in config.agents.platforms else (ALL,))
    found = shipped().names if ALL in named else shipped().names & named
    return found - frozenset(config.tools.disabled)


@functools.cache
def shipped() -> Registry:
    """All tools of this process."""
    modules = (current_time, memory, session_search, todo, tool_output, web_fetch)
    return Registry(module.TOOL for module in modules)


@functools.lru_cache(maxsize=32)
def _only(names: frozenset[str]) -> Registry:
    return shipped().only(names)
