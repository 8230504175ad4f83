"""Forks the fleet's processes from one that has imported everything, so that each starts in a tenth of the time.

`python -m tests.chaos.nursery <fd>` reads one JSON message per process from the socket `fd`, with the descriptor that
the process is to write to, and answers `{"pid": …}` at once and `{"pid": …, "code": …}` when it has ended. What it
forks runs as it would by itself: nothing is connected, opened or started before the fork.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from gateway_app.fleet.death import dying_with_parent
from tests.chaos import launch

IMPORTED = (
    "celery.apps.worker", "celery.apps.beat", "celery.bin.worker", "celery.bin.beat", "celery.__main__",
    "django_celery_beat.schedulers", "gateway_app.tasks", "gateway_app.worker.pool", "gateway_app.platforms.listening",
    "gateway_app.platforms.telegram.polling", "gateway_app.platforms.webchat.adapter", "hermes_site.server",
    "hermes_site.asgi", "hermes_site.urls", "kombu.transport.redis", "aiohttp", "tests.chaos.points",
)  # fmt: skip
MESSAGE_BYTES = 64 * 1024
LOOK_SECONDS = 0.02


class Forked:
    """A forked process, as `subprocess.Popen` shows one."""

    def __init__(self, pid: int, stdout: IO[str]) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None


class Nursery:
    """The nursery's process. Used by one thread, whose end would end it, and with it all that it forked."""

    def __init__(self, *, folder: Path, environment: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._forked: dict[int, Forked] = {}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                preexec_fn=dying_with_parent(),
            )

    def start(self, role: str, words: list[str]) -> Forked:
        read, write = os.pipe()
        try:
            socket.send_fds(self._socket, [json.dumps({"role": role, "words": words}).encode()], [write])
        finally:
            os.close(write)
        while "code" in (message := self._receive()):
            self._ended(message)
        forked = Forked(message["pid"], os.fdopen(read, errors="replace"))
        self._forked[forked.pid] = forked
        return forked

    def poll(self) -> None:
        """Notes which processes have ended."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._ended(self._receive(socket.MSG_DONTWAIT))

    def close(self) -> None:
        """Ends the nursery, and by its death all that it forked."""
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def _receive(self, flags: int = 0) -> dict[str, int]:
        data = self._socket.recv(MESSAGE_BYTES, flags)
        if not data:
            raise AssertionError(f"the nursery has died ({self._process.wait()})")
        message: dict[str, int] = json.loads(data)
        return message

    def _ended(self, message: dict[str, int]) -> None:
        self._forked.pop(message["pid"]).returncode = message["code"]


def serve(control: socket.socket) -> tuple[str, list[str]]:
    """Forks what it is told to. Returns in each child, with what that is to run."""
    control.settimeout(LOOK_SECONDS)
    while True:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                control.send(json.dumps({"pid": ended[0], "code": os.waitstatus_to_exitcode(ended[1])}).encode())
        try:
            data, (output,), _, _ = socket.recv_fds(control, MESSAGE_BYTES, 1)
        except TimeoutError:
            continue
        die_with_us = dying_with_parent()
        if pid := os.fork():
            os.close(output)
            control.send(json.dumps({"pid": pid}).encode())
            continue
        die_with_us()
        control.close()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        message = json.loads(data)
        return message["role"], message["words"]


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    launch.set_up()
    for name in IMPORTED:
        importlib.import_module(name)
    if threading.active_count() > 1:
        raise RuntimeError(f"an import has started threads: {threading.enumerate()}")
    role, words = serve(socket.socket(fileno=int(sys.argv[1])))
    launch.run(role, words)


if __name__ == "__main__":
    main()
