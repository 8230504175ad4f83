"""Keeps processes alive: starts them, starts them again, and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

from .console import Console
from .death import dying_with_parent
from .service import Service

MEND_AFTER = 3
"""Failures in a row after which a service's `mend` is tried: fewer may be chance."""


class Supervisor:
    """Runs services until `stop()`.

    A service that ends for any reason is started again after a wait that doubles with each failure in a
    row, from `backoff_seconds` to `backoff_max_seconds`; one that ran for `healthy_seconds` starts anew.
    Where the supervisor itself is killed, the kernel kills the services (Linux).
    """

    def __init__(
        self,
        *,
        console: Console,
        folder: Path,
        backoff_seconds: float,
        backoff_max_seconds: float,
        healthy_seconds: float,
    ) -> None:
        self.console = console
        self.folder = folder
        self.backoff_seconds = backoff_seconds
        self.backoff_max_seconds = backoff_max_seconds
        self.healthy_seconds = healthy_seconds
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: dict[Service, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    def start(self, service: Service) -> None:
        """Starts `service` and keeps it alive from now on."""
        if not self._stopping.is_set():
            self._keepers[service] = asyncio.create_task(self._keep(service), name=f"keep {service.name}")

    def hurry(self) -> None:
        """Has a `stop()` under way kill what has not ended yet."""
        self._hurrying.set()

    async def stop(self) -> None:
        """Stops all services, those of one stop order together; each is killed after its `stop_seconds`."""
        self._stopping.set()
        ordered = sorted(self._keepers, key=lambda service: service.stop_order)
        for _, together in itertools.groupby(ordered, key=lambda service: service.stop_order):
            await asyncio.gather(*(self._end(service) for service in together), return_exceptions=True)

    async def _keep(self, service: Service) -> None:
        failures = 0
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            begun = clock()
            outcome = await self._run(service)
            if self._stopping.is_set():
                return
            failures = 1 if clock() - begun >= self.healthy_seconds else failures + 1
            if service.mend is not None and failures % MEND_AFTER == 0:
                self.console.line(service.name, service.mend())
            wait = min(self.backoff_max_seconds, self.backoff_seconds * 2 ** min(failures - 1, 30))
            self.console.line(service.name, f"{outcome}; it is started again in {wait:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)

    async def _run(self, service: Service) -> str:
        """Runs `service` once and returns how it ended, in words."""
        # A pipe of our own: asyncio's would have `wait()` last as long as anything holds its other end.
        source, sink = os.pipe()
        relay = asyncio.create_task(self._relay(service.name, source))
        try:
            process = await asyncio.create_subprocess_exec(
                *service.command,
                cwd=self.folder,
                env={**os.environ, **service.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=asyncio.subprocess.STDOUT,
                # A session of its own: Ctrl-C reaches the supervisor alone, which then stops all in order.
                start_new_session=True,
                preexec_fn=dying_with_parent(),
            )
        except OSError as error:
            return f"could not be started: {error.strerror}"
        finally:
            os.close(sink)
        self.processes[service.name] = process
        if self._stopping.is_set():  # stop() came while it was being started and did not see it
            process.kill()
        code = await process.wait()
        # What it started itself must neither linger nor hold a port its successor needs.
        _signal_group(process.pid, signal.SIGKILL)
        del self.processes[service.name]
        await asyncio.wait([relay], timeout=1)
        relay.cancel()
        return f"ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with exit code {code}"

    async def _relay(self, name: str, source: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(source, "rb", buffering=0)
        )
        try:
            await self.console.relay(name, reader)
        finally:
            transport.close()

    async def _end(self, service: Service) -> None:
        keeper = self._keepers[service]
        if process := self.processes.get(service.name):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            hurrying = asyncio.create_task(self._hurrying.wait())
            await asyncio.wait([keeper, hurrying], timeout=service.stop_seconds, return_when=asyncio.FIRST_COMPLETED)
            hurrying.cancel()
            if not keeper.done():
                self.console.line(service.name, "did not end in time and is killed")
                _signal_group(process.pid, signal.SIGKILL)
        await keeper


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def on_signals(first: Callable[[], object], further: Callable[[], object]) -> None:
    """Calls `first` at the first SIGINT, SIGTERM or SIGHUP and `further` at each one after.

    A SIGHUP that is ignored, as under `nohup`, stays ignored.
    """
    loop = asyncio.get_running_loop()
    calls = itertools.chain([first], itertools.repeat(further))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, lambda: next(calls)())
