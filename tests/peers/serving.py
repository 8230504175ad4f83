"""What the peers that speak HTTP have in common: a server in a thread, or as a command."""

from __future__ import annotations

import asyncio
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import uvloop
from aiohttp import web

BODY_MAX_BYTES = 64 * 1024 * 1024


class PeerServer(ABC):
    """Serves `handle()`. `with Peer() as peer` runs it in a thread; after `stop()`, `start()` takes the same port."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._failure: Exception | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def announced(self) -> str:
        """What the command prints first."""
        return self.url

    @abstractmethod
    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request. Cancelled when the client goes away."""

    def start(self) -> None:
        self._ready.clear()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        assert self.loop and self._stop and self._thread
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def serve(self, stop: asyncio.Event, ready: Callable[[], object]) -> None:
        """Serves in the running loop; calls `ready` once the port is open and returns after `stop` is set."""
        self.loop = asyncio.get_running_loop()
        server = web.Server(self.handle, request_factory=self._request, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=0.05)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port, backlog=4096, reuse_address=True).start()
            self.port = runner.addresses[0][1]
            ready()
            await stop.wait()
        finally:
            await runner.cleanup()

    def serve_as_command(self) -> None:
        """Prints the URL as the first line of the output, and serves until SIGTERM or SIGINT."""

        async def serve() -> None:
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            await self.serve(stop, lambda: print(self.announced, flush=True))

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve_until_stopped())
        except Exception as error:
            self._failure = error
            self._ready.set()

    async def _serve_until_stopped(self) -> None:
        self._stop = asyncio.Event()
        await self.serve(self._stop, self._ready.set)

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_MAX_BYTES)
