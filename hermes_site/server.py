"""The web process: granian, in this process and on one event loop with the site."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from pathlib import Path

import uvloop
from django.conf import settings
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from gateway_app.config import live
from gateway_app.platforms.webchat.hub import hub
from gateway_app.platforms.webchat.stream import close_publisher
from gateway_app.worker.database import close_database_threads

log = logging.getLogger(__name__)

LOGGING = {"formatters": {}, "handlers": {}, "loggers": {"_granian": {"propagate": True}}}
"""Granian's own messages go where all others go. Its access log stays off: it would hold sign-in links."""
BACKLOG = 1024
STATIC_SECONDS = 30 * 86_400
"""How long browsers keep static files; their names change with their content."""


class AddressTaken(Exception):
    """Another process listens where this one should."""


def serve(*, host: str, port: int) -> None:
    """Serves the site until SIGTERM or SIGINT. Raises `AddressTaken`.

    At the signal event streams end at once; other requests have WEB_STOP_SECONDS.
    """
    check_free(host, port)
    uvloop.run(_serve(host, port))


def check_free(host: str, port: int) -> None:
    """Raises `AddressTaken`; granian itself would share the port with another server and get half of its requests."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            found = f"HERMES_BIND is {host}:{port}"
            raise AddressTaken(f"{found}, and that address cannot be had: {error.strerror}.") from None


async def _serve(host: str, port: int) -> None:
    from hermes_site.asgi import application

    loop = asyncio.get_running_loop()
    server = Server(
        application,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        backlog=BACKLOG,
        backpressure=settings.WEB_CONNECTIONS,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=LOGGING,
        static_path_route=[settings.STATIC_URL.rstrip("/")],
        static_path_mount=[Path(settings.STATIC_ROOT)],
        static_path_expires=STATIC_SECONDS,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watching = asyncio.create_task(live.watch())
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
        raise RuntimeError("The web server ended by itself.")
    watching.cancel()
    await _stop(server, serving)


async def _stop(server: Server, serving: asyncio.Task[None]) -> None:
    hub().stop()
    server.stop()  # type: ignore[no-untyped-call]
    _, unfinished = await asyncio.wait([serving], timeout=settings.WEB_STOP_SECONDS)
    if unfinished:
        log.warning("Some requests did not end within %g s and are cut off.", settings.WEB_STOP_SECONDS)
        # A request that hangs in a thread would keep the interpreter from ending.
        os._exit(0)
    await close_publisher()
    close_database_threads()
