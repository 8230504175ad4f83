"""The connections of this process: one for each server and event loop, shared by all turns."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from gateway_app.agent.registry import Tool
from gateway_app.config.schema import Config
from gateway_app.config.schema.mcp import McpServer
from gateway_app.sessions.source import SessionContext
from gateway_app.worker.loop import event_loop

from .connection import Connection
from .offering import is_offered, offered

if TYPE_CHECKING:
    from mcp_types import Tool as Listed

FIRST_WAIT_SECONDS = 5.0
"""A turn waits so long for servers that are just being connected to, after a worker's start above all; a slower one's
tools are there for the next turn."""


class Pool:
    """Connections by their server's name, as the configuration has them."""

    def __init__(self) -> None:
        self._servers: tuple[McpServer, ...] = ()
        self._connections: dict[str, Connection] = {}
        self._tools: dict[str, tuple[Tool, ...]] = {}
        self._retiring: dict[Connection, asyncio.Task[None]] = {}

    def take_up(self, servers: tuple[McpServer, ...]) -> None:
        """Holds connections to `servers` and no others. One whose configuration is another now is made anew."""
        if servers is self._servers:
            return
        wanted = {server.name: server for server in servers if server.enabled}
        for name, connection in list(self._connections.items()):
            if wanted.get(name) != connection.server:
                del self._connections[name]
                self._tools.pop(name, None)
                self._retiring[connection] = asyncio.create_task(self._retire(connection))
        for name, server in wanted.items():
            if name not in self._connections:
                self._connections[name] = self._connection(server)
        self._servers = servers

    async def _retire(self, connection: Connection) -> None:
        try:
            await connection.retire()
        finally:
            del self._retiring[connection]

    def _connection(self, server: McpServer) -> Connection:
        def keep(listed: Sequence[Listed]) -> None:
            if self._connections.get(server.name) is connection:
                self._tools[server.name] = offered(connection, listed)

        connection = Connection(server, on_tools=keep)
        return connection

    async def connected(self, names: Sequence[str], *, seconds: float | None = None) -> list[Connection]:
        """The connections to the servers `names`, after a wait for those that are on their way up.

        It takes `seconds` at the most, or FIRST_WAIT_SECONDS.
        """
        found = [self._connections[name] for name in names if name in self._connections]
        for connection in found:
            connection.want()
        waits = [asyncio.create_task(connection.settled()) for connection in found if connection.is_believed_in]
        if waits:
            try:
                await asyncio.wait(waits, timeout=FIRST_WAIT_SECONDS if seconds is None else seconds)
            finally:
                for wait in waits:
                    wait.cancel()
        return found

    def tools(self, name: str) -> tuple[Tool, ...]:
        """What the server `name` offers now; nothing while it is away."""
        return self._tools.get(name, ())

    async def close(self) -> None:
        """Ends all connections, and the processes behind them."""
        connections = [*self._connections.values(), *self._retiring]
        self._connections.clear()
        await asyncio.gather(*(connection.close() for connection in connections))
        await asyncio.gather(*self._retiring.values(), return_exceptions=True)


_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()
_newest: weakref.ref[Pool] | None = None
"""The one that threads without a loop look at; a worker has no other."""


def pool() -> Pool:
    """The running loop's connections."""
    global _newest
    loop = asyncio.get_running_loop()
    if loop not in _pools:
        _pools[loop] = Pool()
        _newest = weakref.ref(_pools[loop])
    return _pools[loop]


def _pool_to_look_at() -> Pool | None:
    try:
        return _pools.get(asyncio.get_running_loop())
    except RuntimeError:  # a database thread, which opens a turn
        return _newest() if _newest else None


async def prepare(context: SessionContext, config: Config) -> None:
    """Connects to the servers whose tools are for the session of `context`, and waits a moment for them."""
    servers = config.mcp.servers
    if servers or asyncio.get_running_loop() in _pools:
        pool().take_up(servers)
        await pool().connected([server.name for server in servers if is_offered(server, context)])


def tools_for(context: SessionContext, config: Config) -> list[Tool]:
    """The tools of MCP servers that are there now for the session of `context`, in the order of the configuration.

    Only looks at what this process knows, from any of its threads.
    """
    servers = [server for server in config.mcp.servers if is_offered(server, context)]
    found = _pool_to_look_at() if servers else None
    return [tool for server in servers for tool in found.tools(server.name)] if found else []


async def close_pool() -> None:
    """Closes the running loop's connections. Workers do it at their end; a process with a loop of its own calls it."""
    global _newest
    if found := _pools.pop(asyncio.get_running_loop(), None):
        if _newest and _newest() is found:
            _newest = None
        await found.close()


event_loop.at_stop.append(close_pool)
