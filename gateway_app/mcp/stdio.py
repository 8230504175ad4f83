"""The transport to a server that is a process of ours: JSON-RPC in lines over its standard input and output.

It does for the SDK's client what the SDK's own does, and holds against a hostile process besides: lines have a longest
length, messages a highest rate, what is no message is skipped and counted, standard error goes to the log within
bounds, and no process outlives this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, jsonrpc_message_adapter

from gateway_app.config.schema.mcp import McpServer
from gateway_app.fleet.death import dying_with_parent

from .contents import flat
from .lines import Line, lines
from .problem import McpProblem
from .references import Access

log = logging.getLogger(__name__)

LARGEST_MESSAGE = 8 * 1024 * 1024
"""Bytes of one message, so that a process with many servers stays small; what a model gets of it is far less."""
MESSAGES_PER_SECOND = 500
"""What comes faster waits in the pipe: other sessions' turns run on the same event loop."""
MOST_GARBAGE = 100
"""Lines that are no messages, such as a stray print; with more of them it is no MCP server."""
LONGEST_LOG_LINE = 500
LOG_LINES_PER_MINUTE = 30
"""Of one server's standard error; the rest is only counted."""
TOO_LARGE = -32_099
"""The code of the error that stands for an answer that was too large, in JSON-RPC's range for implementations."""
REQUEST_ID = re.compile(rb'"id"\s*:\s*(\d{1,15})')
Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
GOODBYE_SECONDS = 0.4
"""For a process to end by itself once its input is closed. All of a stop fits into what a worker's end leaves."""
TERM_SECONDS = 0.2
KILL_SECONDS = 0.2
POLL_SECONDS = 0.01


@contextlib.asynccontextmanager
async def stdio(server: McpServer, access: Access, *, on_end: Callable[[str], None]) -> AsyncGenerator[Streams]:
    """Starts the server's process, and stops it at the end with all that it started.

    `on_end` is called with the reason, once, when the process is of no more use. Raises `McpProblem` where it cannot
    be started.
    """
    process = await _started(server, access)
    send_read, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, receive_write = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [
        asyncio.create_task(_read(server, process, send_read, on_end)),
        asyncio.create_task(_write(process, receive_write)),
        asyncio.create_task(_log(server, process, access)),
    ]
    try:
        yield read, write
    finally:
        tasks[0].cancel()  # so that it does not report the end that is made here
        for stream in (write, receive_write, read, send_read):
            stream.close()
        await _stop(process)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=KILL_SECONDS)


async def _started(server: McpServer, access: Access) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            server.command,
            *access.args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(access.env),
            cwd=access.cwd,
            preexec_fn=dying_with_parent(),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or "its arguments cannot be passed on"
        raise McpProblem(f"its program {server.command[:100]!r} could not be started: {reason}") from None


async def _read(
    server: McpServer,
    process: Process,
    sent: MemoryObjectSendStream[SessionMessage | Exception],
    on_end: Callable[[str], None],
) -> None:
    assert process.stdout
    reason, garbage, pace = "", 0, _Pace()
    try:
        async for line in lines(process.stdout, longest=LARGEST_MESSAGE):
            if not line.content.strip():
                continue
            message = _message(line)
            if message is None:
                garbage += 1
                if garbage == 1:
                    log.warning("MCP server %s writes lines to its output that are no messages.", server.name)
                if garbage > MOST_GARBAGE:
                    reason = "it writes to its output what is no message"
                    break
            else:
                await pace.keep()
                await sent.send(message)
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        return  # the session is over
    await _exited(process, GOODBYE_SECONDS)
    code = process.returncode
    on_end(reason or ("it closed its output" if code is None else f"its process ended with code {code}"))
    sent.close()  # whoever waits for an answer is told


def _message(line: Line) -> SessionMessage | None:
    """The message in `line`; an error in its place where it is too large, and None where it is none at all."""
    if line.is_cut:
        found = REQUEST_ID.search(line.content[:200])
        if not found:
            return None
        error = ErrorData(code=TOO_LARGE, message=f"the answer is larger than {LARGEST_MESSAGE:,} bytes")
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=error))
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line.content, by_name=False))
    except (ValueError, RecursionError):
        return None


class _Pace:
    """Holds messages to MESSAGES_PER_SECOND."""

    def __init__(self) -> None:
        self._second = 0
        self._count = 0

    async def keep(self) -> None:
        now = time.monotonic()
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        self._count += 1
        if self._count > MESSAGES_PER_SECOND:
            await asyncio.sleep(int(now) + 1 - now)


async def _write(process: Process, received: MemoryObjectReceiveStream[SessionMessage]) -> None:
    assert process.stdin
    # What cannot be written any more has no answer: the end of the output says so to whoever waits.
    with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        async for message in received:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(text.encode() + b"\n")
            await process.stdin.drain()


async def _log(server: McpServer, process: Process, access: Access) -> None:
    """Puts the process's standard error into the log."""
    assert process.stderr
    minute, count = 0.0, 0
    async for line in lines(process.stderr, longest=LONGEST_LOG_LINE * 4):
        now = time.monotonic()
        if now - minute >= 60:
            if count > LOG_LINES_PER_MINUTE:
                log.info("MCP server %s: … and %s lines more.", server.name, count - LOG_LINES_PER_MINUTE)
            minute, count = now, 0
        count += 1
        if count <= LOG_LINES_PER_MINUTE:
            text = access.masked(line.content.decode("utf-8", "replace"))
            log.info("MCP server %s: %s", server.name, flat(text, longest=LONGEST_LOG_LINE))


async def _stop(process: Process) -> None:
    """Ends the process: by closing its input, by SIGTERM, by SIGKILL, and then whatever is left of its group."""
    assert process.stdin
    with contextlib.suppress(OSError, RuntimeError):
        process.stdin.close()
    if not await _exited(process, GOODBYE_SECONDS):
        _signal(process, signal.SIGTERM)
        await _exited(process, TERM_SECONDS)
    _signal(process, signal.SIGKILL)
    await _exited(process, KILL_SECONDS)
    # A descendant that left the group may hold the pipes open; nobody reads them any more.
    if transport := getattr(process, "_transport", None):
        with contextlib.suppress(OSError):
            transport.close()


async def _exited(process: Process, seconds: float) -> bool:
    """Whether the process has ended within `seconds`. (`wait()` would also wait for whoever holds its pipes.)"""
    until = time.monotonic() + seconds
    while process.returncode is None and time.monotonic() < until:  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(POLL_SECONDS)
    return process.returncode is not None


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
