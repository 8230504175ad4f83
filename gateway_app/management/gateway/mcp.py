"""`manage.py gateway mcp`: the MCP servers of the configuration, seen from here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_app.agent import arguments
from gateway_app.agent.registry import Tool, ToolError
from gateway_app.config import live
from gateway_app.config.schema.mcp import McpServer
from gateway_app.mcp.connection import Connection
from gateway_app.mcp.pool import Pool

NAME = "mcp"
HELP = """\
Shows the MCP servers of the configuration with their tools, and calls one of them.

It connects by itself, as a worker does; nothing is taken from or changed in the workers.

  manage.py gateway mcp list                               every server: where it is offered, its state, its tools
  manage.py gateway mcp list time                          one server, with what each tool is for
  manage.py gateway mcp test time get_current_time '{"timezone": "Asia/Tokyo"}'

`test` takes the tool's own name or the one that the agent knows it by, and prints what the model would get.
Exit codes: 0 done, 1 a server is away or the call failed, with the reason.
"""
SLACK_SECONDS = 5.0
"""Beside each server's own time for connecting."""


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("what", choices=["list", "test"])
    parser.add_argument("server", nargs="?", default="", help="its name in the configuration")
    parser.add_argument("tool", nargs="?", default="", help="what `test` calls")
    parser.add_argument("json", nargs="?", default="{}", help="the arguments of `test`, a JSON object (%(default)s)")


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    servers = live.config().mcp.servers
    if name := options["server"]:
        servers = tuple(server for server in servers if server.name == name)
        if not servers:
            known = ", ".join(server.name for server in live.config().mcp.servers) or "none"
            raise CommandError(f"There is no MCP server {name!r}; the configuration has: {known}.")
    if options["what"] == "list":
        asyncio.run(_connected(servers, lambda pool, found: _list(io, servers, pool, found, is_full=bool(name))))
    elif not options["tool"]:
        raise CommandError("`test` needs a server, a tool and its arguments: test time get_current_time '{…}'")
    else:
        asyncio.run(_connected(servers, lambda pool, found: _test(io, pool, found[0] if found else None, options)))


async def _connected(
    servers: tuple[McpServer, ...], then: Callable[[Pool, list[Connection]], Coroutine[Any, Any, None]]
) -> None:
    pool = Pool()
    pool.take_up(servers)
    try:
        longest = max((server.connect_timeout for server in servers), default=0)
        await then(pool, await pool.connected([server.name for server in servers], seconds=longest + SLACK_SECONDS))
    finally:
        await pool.close()


async def _list(
    io: BaseCommand, servers: tuple[McpServer, ...], pool: Pool, found: list[Connection], *, is_full: bool
) -> None:
    connections = {connection.server.name: connection for connection in found}
    away = []
    for server in servers:
        connection = connections.get(server.name)
        io.stdout.write(f"{server.summary}, for {', '.join(server.platforms) or 'nobody'}")
        if server.needs_approval:
            io.stdout.write("    needs approval: each call waits until the person has approved it")
        if connection is None:
            io.stdout.write("    switched off")
        elif connection.problem:
            away.append(server.name)
            io.stdout.write(io.style.ERROR(f"    {connection.state}: {connection.problem}"))
        else:
            tools = pool.tools(server.name)
            io.stdout.write(f"    {connection.state}: {connection.about}, {len(tools)} tools")
            for tool in tools:
                io.stdout.write(f"    {tool.name}" + (f"  {tool.description}\n" if is_full else ""))
    if not servers:
        io.stdout.write(f"No MCP servers are configured; {EXAMPLE}")
    if away:
        raise CommandError(f"Away: {', '.join(away)}.", returncode=1)


EXAMPLE = "for example in config.yaml: mcp_servers: {time: {command: uvx, args: [mcp-server-time]}}"


async def _test(io: BaseCommand, pool: Pool, connection: Connection | None, options: dict[str, Any]) -> None:
    if connection is None:
        raise CommandError(f"The MCP server {options['server']} is switched off.")
    if connection.problem:
        raise CommandError(f"The MCP server {options['server']} is {connection.state}: {connection.problem}.")
    tool = _tool(pool.tools(connection.server.name), connection.server, options["tool"])
    try:
        read = arguments.read(options["json"], schema=tool.parameters)
        io.stdout.write("\n\n".join([await tool.handler(read.values), *read.notes]))
    except ToolError as error:
        raise CommandError(str(error), returncode=1) from None


def _tool(tools: tuple[Tool, ...], server: McpServer, name: str) -> Tool:
    for tool in tools:
        if tool.name in (name, f"mcp_{server.slug}_{name}"):
            return tool
    raise CommandError(
        f"The MCP server {server.name} offers no tool {name!r}; it offers: {', '.join(tool.name for tool in tools)}."
    )
