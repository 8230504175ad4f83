"""The transport to a server behind an address: the SDK's streamable HTTP, with a bound on what it reads.

Redirects are followed within the server's own origin only, which is the SDK's rule.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from gateway_app.config.schema.mcp import McpServer

from .references import Access
from .stdio import LARGEST_MESSAGE

SEND_SECONDS = 30.0
"""For a request to be written, and for a place among the connections."""


@contextlib.asynccontextmanager
async def http(
    server: McpServer, access: Access, *, on_refusal: Callable[[int], None]
) -> AsyncGenerator[tuple[Any, Any]]:
    """The streams to the server's address. `on_refusal` is called with each status of 400 or more."""

    async def look(response: httpx2.Response) -> None:
        if response.status_code >= 400:
            on_refusal(response.status_code)
        is_packed = response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")
        if is_packed or not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            response.stream = _Bounded(response.stream, most=0 if is_packed else LARGEST_MESSAGE)

    # Time-outs of answers are the calls' own: here one would end the connection and with it every other call.
    timeout = httpx2.Timeout(SEND_SECONDS, connect=server.connect_timeout, read=None)
    headers = {"Accept-Encoding": "identity", **access.headers}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout, event_hooks={"response": [look]}) as client,
        streamable_http_client(access.url, http_client=client, max_sse_event_size=LARGEST_MESSAGE) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncByteStream):
    """A body that breaks off after `most` bytes, in a way that fails one call and not the connection."""

    def __init__(self, stream: httpx2.SyncByteStream | httpx2.AsyncByteStream, *, most: int) -> None:
        assert isinstance(stream, httpx2.AsyncByteStream)
        self._stream = stream
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for piece in self._stream:
            count += len(piece)
            if count > self._most:
                raise httpx2.StreamError(f"the answer is packed, or larger than {LARGEST_MESSAGE:,} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
