"""The process's HTTP client: one aiohttp session for each event loop, shared by model calls and platform sends."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

import aiohttp

from gateway_app.worker.loop import event_loop

_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()


def http_session() -> aiohttp.ClientSession:
    """The session of the running loop; made at the first call, with no limit on connections and no cookies.

    Callers set their own time limits. Raises RuntimeError outside a coroutine.
    """
    loop = asyncio.get_running_loop()
    session = _sessions.get(loop)
    if session is None or session.closed:
        session = _sessions[loop] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )
    return session


async def close_http_session() -> None:
    """Closes the running loop's session. Workers do it at their end; a process with a loop of its own calls it."""
    session = _sessions.pop(asyncio.get_running_loop(), None)
    if session is not None:
        await session.close()


event_loop.at_stop.append(close_http_session)
