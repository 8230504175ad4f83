"""The processes of a fleet: started, started again when they die as a supervisor would, and all gone at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from gateway_app.fleet.death import dying_with_parent
from tests.chaos import launch
from tests.chaos.nursery import Forked, Nursery

RESTART_SECONDS = 0.2
"""Least time between two starts of one process."""
KEPT_LINES = 20_000
ENDED = "--- ended with "
READY_WORDS = (launch.READY, "Listening to ", "standing by")
"""What a process writes when it works; a listener also as a standby."""


class Child:
    """One process of the fleet, over all its restarts. `lines` is what it wrote, from all of them.

    `words` are those for `tests.chaos.launch`.
    """

    def __init__(self, name: str, words: Sequence[str]) -> None:
        self.name = name
        self.words = list(words)
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.written = 0
        """Lines it wrote, those that are forgotten among them."""
        self.is_ready = False
        self.exits: list[int] = []
        self.is_wanted = True
        self.process: subprocess.Popen[str] | Forked | None = None
        self.started_at = 0.0

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def says(self, words: str, *, since: int = 0) -> bool:
        """Whether a line with these words was written after the first `since` lines."""
        lines = list(self.lines)
        return any(words in line for line in lines[max(0, since - self.written + len(lines)) :])

    def note(self, line: str) -> None:
        self.lines.append(line)
        self.written += 1
        self.is_ready = not line.startswith(ENDED) and (self.is_ready or any(words in line for words in READY_WORDS))

    def signal(self, number: int) -> None:
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def is_stopped(self) -> bool:
        """Whether the kernel has stopped it (SIGSTOP)."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False


class Processes:
    """Keeps children alive until `close()`. All are started by one thread, whose end would end them too.

    Cold ones are started by their own command, others are forked from a `Nursery`.
    """

    def __init__(self, *, folder: Path, environment: Mapping[str, str], is_cold: bool) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._is_cold = is_cold
        self._nursery: Nursery | None = None
        self._children: dict[str, Child] = {}
        self._closing = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="processes", daemon=True)
        self._thread.start()

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    def all(self) -> list[Child]:
        return list(self._children.values())

    def of(self, kind: str) -> list[Child]:
        """All that are, for example, a `worker`."""
        return [child for child in self.all() if child.name.partition("-")[0] == kind]

    def with_pid(self, pid: int) -> Child:
        return next(child for child in self.all() if child.pid == pid)

    def add(self, child: Child) -> None:
        self._children[child.name] = child
        self._news.set()

    def hold(self, name: str, number: int = signal.SIGKILL) -> None:
        """Ends a process and does not start it again. Returns when it is gone."""
        child = self[name]
        child.is_wanted = False
        child.signal(number)
        deadline = time.monotonic() + 30
        while child.process is not None:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} did not end at signal {number}:\n{tail(child)}")
            time.sleep(0.01)

    def resume(self, name: str) -> None:
        """Starts what was held."""
        self[name].is_wanted = True
        self._news.set()

    def remove(self, name: str) -> None:
        """Ends a process for good."""
        self.hold(name)
        del self._children[name]

    def close(self) -> None:
        self._closing.set()
        self._news.set()
        self._thread.join()

    def _keep(self) -> None:
        if not self._is_cold:
            self._nursery = Nursery(folder=self._folder, environment=self._environment)
        while not self._closing.is_set():
            if self._nursery:
                self._nursery.poll()
            for child in self.all():
                self._look_after(child)
            self._news.wait(0.02)
            self._news.clear()
        for child in self.all():
            child.is_wanted = False
            child.signal(signal.SIGKILL)
        for child in self.all():
            if isinstance(child.process, subprocess.Popen):
                child.process.wait()
        if self._nursery:
            self._nursery.close()

    def _look_after(self, child: Child) -> None:
        if child.process is not None:
            code = child.process.poll() if isinstance(child.process, subprocess.Popen) else child.process.returncode
            if code is None:
                return
            child.exits.append(code)
            child.note(f"{ENDED}{code}")
            child.process = None
        if child.is_wanted and time.monotonic() > child.started_at + RESTART_SECONDS:
            child.started_at = time.monotonic()
            child.process = self._start(child)
            threading.Thread(target=_read, args=(child, child.process.stdout), daemon=True).start()

    def _start(self, child: Child) -> subprocess.Popen[str] | Forked:
        if self._nursery:
            return self._nursery.start(child.name, child.words)
        return subprocess.Popen(
            [sys.executable, "-m", launch.__name__, child.name, *child.words],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=dying_with_parent(),
        )


def _read(child: Child, output: IO[str]) -> None:
    with output:
        for line in output:
            child.note(line.rstrip())


def tail(child: Child, *, lines: int = 25) -> str:
    """The end of what a child wrote, for a failure's message."""
    text = "\n".join(list(child.lines)[-lines:])
    return f"--- {child.name} (pid {child.pid}, ended so far: {child.exits})\n{text}"
