"""The SDK's client on one of the two transports. Imported at the first connection only: the SDK takes a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp_types import (
    CONNECTION_CLOSED,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    Tool,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from gateway_app.config.schema.mcp import McpServer

from .contents import flat
from .http import http
from .problem import Effect, McpProblem
from .references import Access
from .stdio import stdio

# What goes wrong is said by the connection, once and without what was received; the SDK's own lines, of which some are
# by a logger called `client`, repeat it, and addresses with their queries.
for name in ("mcp", "client", "httpx2", "httpcore2"):
    logging.getLogger(name).setLevel(logging.CRITICAL)

CLIENT = Implementation(name="hermes-gateway", version="0.1")
MOST_PAGES = 20
"""Of a list of tools; a server could go on for ever."""
LISTEN_AGAIN_SECONDS = 30.0
LONGEST_WORDS = 500
"""Characters of a server's own words within an error."""
SESSION_GONE = "Session terminated"
"""What the SDK says where an HTTP server does not know the session any more: it was started anew."""


class SessionGone(McpProblem):
    """The server has forgotten this session and did not take the request."""


class OpenClient:
    """A connected client: what the connection needs of the SDK, with errors in our words."""

    def __init__(self, client: Client, access: Access) -> None:
        self._client = client
        self._access = access

    @property
    def server(self) -> str:
        """What the server says of itself."""
        info = self._client.server_info
        return flat(self._access.masked(f"{info.name} {info.version}" if info else "a server without a name"))

    async def tools(self) -> list[Tool]:
        """All tools of the server, as it names them. Raises `McpProblem`."""
        found: list[Tool] = []
        cursor = None
        if self._client.server_capabilities.tools is None:
            return found
        for _ in range(MOST_PAGES):
            try:
                page = await self._client.list_tools(cursor=cursor)
            except (MCPError, ValidationError) as error:
                raise self._problem(error, "its tools cannot be listed") from None
            found += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        return found

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Calls a tool. Raises `McpProblem`.

        The SDK's own `call_tool` also matches the result against the schema that the server gave for it, which a
        hostile one could make take for ever.
        """
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        try:
            return await self._client.session.send_request(request, CallToolResult)
        except MCPError as error:
            raise self._problem(error, "it answered with an error") from None
        except ValidationError:
            raise McpProblem("its answer is none that can be used", effect=Effect.UNKNOWN) from None

    def _problem(self, error: Exception, what: str) -> McpProblem:
        if not isinstance(error, MCPError):
            return McpProblem(f"{what}: what it sent is not what the protocol says")
        if error.message == SESSION_GONE:
            return SessionGone("it was started anew")
        if error.code == CONNECTION_CLOSED:
            return McpProblem("it broke off", effect=Effect.UNKNOWN)
        return McpProblem(
            f"{what}: {flat(self._access.masked(error.message), longest=LONGEST_WORDS)}", effect=Effect.ANSWERED
        )


@contextlib.asynccontextmanager
async def opened(
    server: McpServer,
    access: Access,
    *,
    on_end: Callable[[str], None],
    on_change: Callable[[], None],
) -> AsyncGenerator[OpenClient]:
    """A client that has shaken hands with the server.

    `on_end` is called where the connection is of no more use, with the reason; `on_change` where the tools may have
    become others. Raises `McpProblem`.
    """
    refusals: list[int] = []
    transport = (
        stdio(server, access, on_end=on_end) if server.command else http(server, access, on_refusal=refusals.append)
    )

    async def hear(message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            on_change()

    try:
        async with (
            Client(transport, message_handler=hear, client_info=CLIENT, cache=None) as client,
            _listening(client, on_change),
        ):
            yield OpenClient(client, access)
    except Exception as error:
        raise _broken(error, access, refusals) from None


def _broken(error: BaseException, access: Access, refusals: list[int]) -> McpProblem:
    """What ended the connection, without anything that was received but an error's own words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, McpProblem):
        return error
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return McpProblem("it could not be reached")
    refused = f" (HTTP {refusals[-1]})" if refusals else ""
    said = access.masked(error.message) if isinstance(error, MCPError) else type(error).__name__
    return McpProblem(f"the connection broke{refused}: {flat(said, longest=LONGEST_WORDS)}")


@contextlib.asynccontextmanager
async def _listening(client: Client, on_change: Callable[[], None]) -> AsyncGenerator[None]:
    """Has `on_change` called where the protocol's newer version wants a client to ask for that."""
    tools = client.server_capabilities.tools
    if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (tools and tools.list_changed):
        yield
        return
    task = asyncio.create_task(_listen(client, on_change))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _listen(client: Client, on_change: Callable[[], None]) -> None:
    while True:
        with contextlib.suppress(MCPError, SubscriptionLost, TimeoutError):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    on_change()
        await asyncio.sleep(LISTEN_AGAIN_SECONDS)
        on_change()  # it may have changed while nobody listened
