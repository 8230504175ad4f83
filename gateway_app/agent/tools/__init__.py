"""The tools that come with the gateway, one module each, and which of them and of MCP servers' a session has."""

from __future__ import annotations

import dataclasses
import functools

from gateway_app.agent.registry import Registry, Tool
from gateway_app.config import live
from gateway_app.config.schema import Config
from gateway_app.mcp import pool
from gateway_app.mcp.naming import is_named
from gateway_app.sessions.source import SessionContext
from honcho_app import tools as honcho

from . import clarify, current_time, memory, send_message, session_search, todo, tool_output, web_fetch

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
    names = switched_on(platform, config) - honcho.withheld(context)
    of_servers = tuple(
        _ruled(tool, _asks(tool, config))
        for tool in pool.tools_for(context, config)
        if is_on(tool.name, platform, config)
    )
    return _put_together(names, needing_approval(names, config), of_servers)


def needing_approval(names: frozenset[str], config: Config) -> frozenset[str]:
    """Those of the gateway's own tools that run only where the person approves the call."""
    if config.approvals.mode == "off" or not config.approvals.tools:
        return frozenset()
    return frozenset(name for name in names if is_named(name, config.approvals.tools))


def _asks(tool: Tool, config: Config) -> bool:
    """Whether a server's tool runs only where the person approves the call."""
    return config.approvals.mode != "off" and (tool.needs_approval or is_named(tool.name, config.approvals.tools))


@functools.lru_cache(maxsize=1024)
def _ruled(tool: Tool, asks: bool) -> Tool:
    """The tool, asked about or not; the same object each time."""
    return tool if asks == tool.needs_approval else dataclasses.replace(tool, needs_approval=asks)


def switched_on(platform: str, config: Config) -> frozenset[str]:
    """The names of the gateway's own tools that are switched on for a platform."""
    for_config, found = _switched_on.get(platform, (None, frozenset()))
    if for_config is not config:
        found = frozenset(name for name in shipped().names if is_on(name, platform, config))
        _switched_on[platform] = (config, found)
    return found


_switched_on: dict[str, tuple[Config | None, frozenset[str]]] = {}
"""By platform, as worked out for a configuration: every turn asks for it several times."""


def is_on(name: str, platform: str, config: Config) -> bool:
    """Whether the tool `name` is switched on for a platform."""
    named = config.agents.platforms[platform].tools if platform in config.agents.platforms else (ALL,)
    return is_named(name, named) and not is_named(name, (*config.tools.disabled, *config.approvals.deny))


@functools.cache
def shipped() -> Registry:
    """All tools of this process."""
    modules = (clarify, current_time, memory, send_message, session_search, todo, tool_output, web_fetch)
    return Registry([*(module.TOOL for module in modules), *honcho.TOOLS])


@functools.lru_cache(maxsize=32)
def _put_together(names: frozenset[str], asking: frozenset[str], of_servers: tuple[Tool, ...]) -> Registry:
    """The gateway's tools `names`, and those of servers. Made once, as is what its schemas cost."""
    return shipped().only(names).needing_approval(asking).joined(of_servers)
