"""The tools that come with the gateway, one module each, and which of them and of MCP servers' a session has."""

from __future__ import annotations

import functools

from gateway_app.agent.registry import Registry
from gateway_app.config import live
from gateway_app.config.schema import Config
from gateway_app.mcp import pool
from gateway_app.mcp.naming import is_named
from gateway_app.sessions.source import SessionContext

from . import current_time, memory, send_message, session_search, todo, tool_output, web_fetch

ALL = "*"


async def prepare(context: SessionContext) -> None:
    """Gets ready what `registry()` needs: connections to the MCP servers that the session of `context` may use."""
    await pool.prepare(context, live.config())


def registry(context: SessionContext) -> Registry:
    """The tools that the agent may call in the session of `context`, by the configuration in force now.

    Of MCP servers there are those that are connected; `prepare()` sees to that.
    """
    config = live.config()
    platform = context.platform
    found = _only(switched_on(platform, config))
    of_servers = [
        tool
        for tool in pool.tools_for(context, config)
        # Nobody can be asked for an approval yet, so that what needs one is not run.
        if is_on(tool.name, platform, config) and not tool.needs_approval
    ]
    return found.joined(of_servers) if of_servers else found


def switched_on(platform: str, config: Config) -> frozenset[str]:
    """The names of the gateway's own tools that are switched on for a platform."""
    return frozenset(name for name in shipped().names if is_on(name, platform, config))


def is_on(name: str, platform: str, config: Config) -> bool:
    """Whether the tool `name` is switched on for a platform."""
    named = config.agents.platforms[platform].tools if platform in config.agents.platforms else (ALL,)
    return is_named(name, named) and not is_named(name, config.tools.disabled)


@functools.cache
def shipped() -> Registry:
    """All tools of this process."""
    modules = (current_time, memory, send_message, session_search, todo, tool_output, web_fetch)
    return Registry(module.TOOL for module in modules)


@functools.lru_cache(maxsize=32)
def _only(names: frozenset[str]) -> Registry:
    return shipped().only(names)
