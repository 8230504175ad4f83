"""Runs the listener in a thread of the test, or as processes, for tests that watch what it does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any
from unittest import TestCase, mock

import uvloop
from django.conf import settings
from django.test import override_settings

from gateway_app import channels
from gateway_app.access import people
from gateway_app.fleet.death import dying_with_parent
from gateway_app.models import Listener
from gateway_app.platforms import lease, listening
from gateway_app.platforms.telegram import polling  # noqa: F401  (seconds of import that no test should wait for)
from gateway_app.worker.database import close_database_threads
from tests.configuration import open_to_all
from tests.peers.telegram import TOKEN, TelegramPeer
from tests.processes import child_environment

ACCOUNT = TOKEN.partition(":")[0]


def telegram_peer(test: TestCase, **changes: Any) -> TelegramPeer:
    """A peer that the settings name for the length of the test, with waits that are short, and open to everybody."""
    peer = TelegramPeer()
    peer.start()
    test.addCleanup(peer.stop)
    values: dict[str, Any] = {
        "TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_BASE_URL": peer.url, "TELEGRAM_REFUSED_SECONDS": 0.05,
        "LISTENER_BACKOFF_SECONDS": 0.05, "LISTENER_BACKOFF_MAX_SECONDS": 0.2,
    }  # fmt: skip
    for changed in (override_settings(**values | changes), open_to_all("telegram")):
        changed.enable()
        test.addCleanup(changed.disable)
    test.addCleanup(channels._known.clear)
    test.addCleanup(people._known.clear)
    reports = mock.patch.object(lease, "REPORT_SECONDS", 0.1)
    reports.start()
    test.addCleanup(reports.stop)
    return peer


class ListenerThread:
    """`listening.listen()` on a loop of its own: `with ListenerThread(): …`"""

    def __enter__(self) -> ListenerThread:
        self._loop = uvloop.new_event_loop()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stops it as SIGTERM does; raises what it raised."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the listener did not stop"
        close_database_threads()
        if self._failure:
            raise self._failure

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self.stop()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(listening.listen(self._stop))
        except BaseException as error:
            self._failure = error


class ListenerProcess:
    """A `manage.py listen` of its own. What it logs is in `log()`."""

    def __init__(self, test: TestCase, peer: TelegramPeer, **variables: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        test.addCleanup(self._log.close)
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "listen"],
            cwd=settings.BASE_DIR,
            env=child_environment(
                test, TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_BASE_URL=peer.url, TELEGRAM_ALLOW_ALL_USERS="true",
                HERMES_LOG_LEVEL="INFO", **variables,
            ),
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, preexec_fn=dying_with_parent(),
        )  # fmt: skip
        test.addCleanup(self._end)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    def is_holder(self) -> bool:
        """Whether the database says that this process holds Telegram's lease."""
        return Listener.objects.filter(
            lease_owner__contains=f":{self.process.pid}:", lease_until__isnull=False
        ).exists()

    def _end(self) -> None:
        self.process.kill()
        self.process.wait()


def wait(until: Callable[[], object], *, seconds: float = 30, what: str = "it") -> None:
    """Waits until `until()` is true; raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)
