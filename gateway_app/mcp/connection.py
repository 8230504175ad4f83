"""One server's connection in this process.

A connection lives in an asyncio task of its own, which opens it and closes it: the SDK's task groups must be left by
whoever entered them. Calls are tasks beside it, so that whoever waits for one may give up without harm to the rest.
Nothing connects by itself: a turn that could use the server, or a call, starts an attempt where the last failure is
long enough ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import logging
import random
import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gateway_app.config import live
from gateway_app.config.schema.mcp import McpServer

from .problem import Effect, McpProblem
from .references import Access, access_of

if TYPE_CHECKING:
    from mcp_types import CallToolResult, Tool

    from .client import OpenClient

log = logging.getLogger(__name__)

BACKOFF_SECONDS = 0.5
"""The first pause after a failure; each further one is twice as long."""
BACKOFF_MAX_SECONDS = 60.0
STEADY_SECONDS = 10.0
"""A connection that held so long was a good one: the next attempt is made at once when it breaks."""
PATIENCE_SECONDS = 5.0
"""The longest pause that a call waits out; where more is left of it the model is told that the server is away."""
MOST_AT_ONCE = 32
"""Calls that one server has in hand from this process; further ones wait their time-out for a place."""
PROBE_SECONDS = 10.0
"""For an answer to the question for the tools, where it is in doubt whether the server is still there."""
CHECK_SECONDS = 30.0
"""A server behind an address is asked this often while turns could use it: nothing says when it goes away."""
PAUSE_SECONDS = 1.0
"""Between two questions for the tools, however often the server says that they have changed."""
CLOSE_SECONDS = 1.5
"""For an orderly end; then it is cancelled once more and left."""


class State(StrEnum):
    IDLE = "not connected"
    CONNECTING = "connecting"
    UP = "connected"
    AWAY = "away"


class Connection:
    """The connection to `server`, made when somebody wants it."""

    def __init__(self, server: McpServer, *, on_tools: Callable[[list[Tool]], None]) -> None:
        """`on_tools` is called with the server's tools when they are known, and with none when it is away."""
        self.server = server
        self.state = State.IDLE
        self.problem = ""
        """Why the last attempt or connection ended, in words for people."""
        self.about = ""
        """What the server says of itself."""
        self._on_tools = on_tools
        self._access: Access | None = None
        self._client: OpenClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        """The attempt under way has ended, well or not."""
        self._over = asyncio.Event()
        """The connection is of no more use."""
        self._reason = ""
        """Why, where it was told."""
        self._attention = asyncio.Event()
        """The tools are to be asked for."""
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._calls: set[asyncio.Task[CallToolResult]] = set()
        self._failures = 0
        self._not_before = 0.0
        self._wanted_at = 0.0
        self._is_closed = False

    @property
    def is_believed_in(self) -> bool:
        """Whether an attempt is under way that nothing speaks against, so that to wait for it is worth while."""
        return self.state is State.CONNECTING and self._failures == 0

    def want(self) -> None:
        """Starts an attempt unless there is a connection, an attempt, or a pause that is not over."""
        self._wanted_at = time.monotonic()
        if self._task is None and not self._is_closed and self._wanted_at >= self._not_before:
            self.state, self._reason = State.CONNECTING, ""
            self._settled, self._over, self._attention = asyncio.Event(), asyncio.Event(), asyncio.Event()
            # In a context of its own: it outlives the turn that it was started for.
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def settled(self) -> None:
        """Waits for the end of the attempt under way."""
        await self._settled.wait()

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Calls a tool, once it is connected. Raises `McpProblem`."""
        from .client import SessionGone

        async with self._places:
            try:
                return await self._call(await self._connected(), tool, arguments)
            except SessionGone as gone:
                self._end(str(gone))
            return await self._call(await self._connected(), tool, arguments)

    def masked(self, text: str) -> str:
        """`text` without the secrets that the server was given."""
        return self._access.masked(text) if self._access else text

    async def close(self) -> None:
        """Ends the connection, and its process. It is not made again."""
        self._is_closed = True
        if task := self._task:
            for _ in range(2):
                task.cancel()
                if (await asyncio.wait({task}, timeout=CLOSE_SECONDS))[0]:
                    break

    async def retire(self) -> None:
        """Ends the connection when the calls that are under way have ended."""
        self._is_closed = True
        if self._calls:
            await asyncio.wait(set(self._calls), timeout=self.server.timeout)
        await self.close()

    # --- Calls -------------------------------------------------------------------------------------------

    async def _connected(self) -> OpenClient:
        until = time.monotonic() + self.server.connect_timeout + PATIENCE_SECONDS
        while True:
            if self._client and not self._over.is_set():
                return self._client
            if self._is_closed:
                raise McpProblem("it is not in use any more")
            if time.monotonic() > until:
                raise McpProblem(f"it is away ({self.problem or 'it does not answer'})")
            if self._task is None:
                pause = self._not_before - time.monotonic()
                if pause > PATIENCE_SECONDS:
                    raise McpProblem(f"it is away ({self.problem}); to be tried again in {pause:.0f} s")
                await asyncio.sleep(max(pause, 0))
                self.want()
            elif self._over.is_set():  # on its way out
                await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._settled.wait(), max(until - time.monotonic(), 0))
                if self._client is None:
                    raise McpProblem(f"it is away ({self.problem or 'it does not answer'})")

    async def _call(self, client: OpenClient, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        task = asyncio.create_task(client.call(tool, arguments))
        self._calls.add(task)
        try:
            await asyncio.wait({task}, timeout=self.server.timeout)
            if not task.done():
                self._attention.set()  # it may be that nothing is left that could answer
                raise McpProblem(f"it took longer than {self.server.timeout:g} s", effect=Effect.UNKNOWN)
            if task.cancelled():
                raise McpProblem("the connection was closed", effect=Effect.UNKNOWN)
            error = task.exception()
            if error is None:
                return task.result()
            if not isinstance(error, McpProblem):
                log.error("MCP server %s: a call failed with %s.", self.server.name, type(error).__name__)
                raise McpProblem("the call failed", effect=Effect.UNKNOWN)
            if self.server.url:
                self._attention.set()  # it may be gone, or know nothing of this session any more
            raise error
        finally:
            task.cancel()
            self._calls.discard(task)

    # --- The connection's own task -----------------------------------------------------------------------

    async def _run(self) -> None:
        problem, up_at = "", None
        try:
            folder = live.config().installation.home
            self._access = access = await asyncio.to_thread(access_of, self.server, folder=folder)
            # Importing the SDK takes a second, in which the other turns go on.
            module = await asyncio.to_thread(importlib.import_module, "gateway_app.mcp.client")
            async with contextlib.AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(self.server.connect_timeout):
                        opened = module.opened(self.server, access, on_end=self._end, on_change=self._attention.set)
                        client: OpenClient = await stack.enter_async_context(opened)
                        self.about = client.server
                        tools = await client.tools()
                except TimeoutError:
                    raise McpProblem(f"it did not answer within {self.server.connect_timeout:g} s") from None
                self._client, up_at = client, time.monotonic()
                self._take(tools)
                await self._serve(client)
        except McpProblem as found:
            problem = str(found)
        except asyncio.CancelledError:
            problem = "the connection was closed"
            raise
        except Exception as error:
            log.exception("MCP server %s: connecting failed.", self.server.name)
            problem = f"connecting failed ({type(error).__name__})"
        finally:
            self._ended(self._reason or problem or "it broke off", up_at)

    def _take(self, tools: list[Tool]) -> None:
        self.state, self.problem = State.UP, ""
        self._on_tools(tools)
        self._settled.set()
        log.info("MCP server %s is there: %s, %s tools.", self.server.name, self.about, len(tools))

    async def _serve(self, client: OpenClient) -> None:
        """Keeps the list of tools fresh until the connection is over. Raises `McpProblem`, which says why."""
        seen = time.monotonic()
        while not self._over.is_set():
            waiting = [asyncio.create_task(event.wait()) for event in (self._attention, self._over)]
            try:
                await asyncio.wait(waiting, timeout=CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
            if self._over.is_set():
                break
            if not self._attention.is_set() and not (self.server.url and self._wanted_at > seen):
                continue
            seen = time.monotonic()
            self._attention.clear()
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    self._on_tools(await client.tools())
            except TimeoutError:
                raise McpProblem("it stopped answering") from None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), PAUSE_SECONDS)
        raise McpProblem(self._reason or "it broke off")

    def _end(self, reason: str) -> None:
        """Takes note that the connection is of no more use, and why."""
        if not self._over.is_set():
            self._reason = reason
            self._over.set()

    def _ended(self, problem: str, up_at: float | None) -> None:
        now = time.monotonic()
        self._client, self._task = None, None
        self._over.set()
        for call in self._calls:
            call.cancel()
        if up_at is not None and now - up_at >= STEADY_SECONDS:
            self._failures = 0
            self._not_before = now
        else:
            self._failures += 1
            longest = min(BACKOFF_SECONDS * 2 ** (self._failures - 1), BACKOFF_MAX_SECONDS)
            self._not_before = now + longest * random.uniform(0.5, 1)  # noqa: S311 (spreads attempts)
        self.problem = problem
        self.state = State.IDLE if self._is_closed else State.AWAY
        self._on_tools([])
        self._settled.set()
        if not self._is_closed:
            level = logging.WARNING if self._failures <= 1 else logging.DEBUG
            log.log(level, "MCP server %s is away: %s.", self.server.name, self.problem)
