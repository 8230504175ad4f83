"""Servers for tests, connected to as a worker does it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest import TestCase

from gateway_app.agent.registry import Tool, ToolError
from gateway_app.config.schema.mcp import McpServer
from gateway_app.fleet.ports import PRIVATE_PORTS, refusal
from gateway_app.mcp.connection import Connection
from gateway_app.mcp.pool import Pool
from tests.processes import ROOT

PEERS = Path(ROOT) / "tests" / "peers"
PYTHONPATH = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
"""For a server's process, which has no environment of the gateway's: where this one finds its packages."""
START_SECONDS = 60.0
"""For a Python process with the SDK, on a machine with much else to do."""


def peer(**values: Any) -> McpServer:
    """The server made with the SDK, over standard input and output."""
    args = ["-m", "tests.peers.mcp_server", "stdio"]
    return server("peer", args=args, cwd=str(ROOT), **values)


def misfit(*faults: str, **values: Any) -> McpServer:
    """The server with faults."""
    return server("misfit", args=[str(PEERS / "mcp_misfit.py"), *faults], **values)


def server(name: str, **values: Any) -> McpServer:
    """A server's configuration; a Python process unless `values` say otherwise."""
    own = {"name": name, "connect_timeout": START_SECONDS}
    return McpServer.model_validate(own | ({} if "url" in values else {"command": sys.executable}) | values)


def http_peer(test: TestCase) -> str:
    """Starts the server made with the SDK over HTTP. Returns its address."""
    port = next(port for port in random.sample(PRIVATE_PORTS, 200) if refusal("127.0.0.1", port) is None)
    process = start_http_peer(port)
    test.addCleanup(stop, process)
    return f"http://127.0.0.1:{port}/mcp"


def start_http_peer(port: int) -> subprocess.Popen[bytes]:
    """The process, once it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.peers.mcp_server", "http", str(port)],
        cwd=ROOT,
        env={**os.environ, "PEER_SECRET": "swordfish-1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return process
        except OSError:
            time.sleep(0.05)
    stop(process)
    raise AssertionError("The MCP peer did not start.")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class Session:
    """What a turn has of one server."""

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self.pool = pool
        self.connection = connection
        self._known: dict[str, Tool] = {}

    @property
    def names(self) -> list[str]:
        return [tool.name for tool in self.pool.tools(self.connection.server.name)]

    async def call(self, tool: str, **arguments: Any) -> str:
        """The result of a call, without the line that says whose it is; an error's text. A tool that was there once
        may be called, as a turn does that began then.
        """
        self._known |= {each.name: each for each in self.pool.tools(self.connection.server.name)}
        try:
            text = await self._known[f"mcp_{self.connection.server.slug}_{tool}"].handler(arguments)
        except ToolError as error:
            return str(error)
        return text.partition("\n\n")[2]

    async def until_up(self) -> None:
        """Waits for the connection, however often it is tried."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and not self.names:
            await self.pool.connected([self.connection.server.name])
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def connected(server: McpServer) -> AsyncIterator[Session]:
    """A session with the server, from its connection to its end."""
    pool = Pool()
    pool.take_up((server,))
    try:
        (connection,) = await pool.connected([server.name], seconds=START_SECONDS)
        yield Session(pool, connection)
    finally:
        await pool.close()


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return status != "Z"


def is_gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether the process ends within `seconds`."""
    until = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_alive(pid)
