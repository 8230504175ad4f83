"""A whole gateway of real processes over real servers, with everything a test needs to break it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from gateway_app.queues import Queue
from hermes_site.isolation import OWN_NAMES, OWN_PREFIXES
from tests.chaos import launch
from tests.chaos.database import ROOT, Database
from tests.chaos.points import POINTS
from tests.chaos.processes import Child, Processes, tail
from tests.peers.honcho import HonchoPeer
from tests.peers.model import ModelPeer
from tests.peers.telegram import TOKEN, TelegramPeer
from tests.services import ValkeyServer, _free_port

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that anything may take on a machine that does much else; nothing here waits longer than it must."""
START_PATIENCE = 180.0
"""The same for a start, which takes a core for seconds."""
LEASE_SECONDS = 2.0

KEY_PREFIX = "chaos:"

SETTINGS = {
    "HERMES_SECRET_KEY": "for-the-chaos-tests-only",
    "HERMES_KEY_PREFIX": KEY_PREFIX,
    "HERMES_LANE_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "HERMES_DATABASE_STUCK_SECONDS": "1",
    "HERMES_SWEEP_SECONDS": "0.5",
    "HERMES_LISTENER_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "HERMES_LISTENER_BACKOFF_SECONDS": "0.1",
    "HERMES_LISTENER_BACKOFF_MAX_SECONDS": "0.5",
    "HERMES_TELEGRAM_POLL_SECONDS": "5",
    "HERMES_DELIVERY_BACKOFF_SECONDS": "0.2",
    "HERMES_DELIVERY_BACKOFF_MAX_SECONDS": "1",
    "HERMES_SEND_TIMEOUT_SECONDS": f"{LEASE_SECONDS:g}",
    "HERMES_MODEL_BACKOFF_SECONDS": "0.1",
    "HERMES_WEBCHAT_POLL_SECONDS": "0.3",
    "HERMES_WEBCHAT_CHECK_SECONDS": "1",
    "HERMES_WORKER_CONCURRENCY": "50",
    "TELEGRAM_BOT_TOKEN": TOKEN,
    "TELEGRAM_ALLOW_ALL_USERS": "1",
    "WEBCHAT_ALLOW_ALL_USERS": "1",
    "OPENAI_API_KEY": "none",
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    "CELERY_CUSTOM_WORKER_POOL": "gateway_app.worker.pool:TaskPool",
}
"""Leases and waits as short as the settings allow, so that a takeover takes seconds."""

PEOPLE = 200
"""People who may sign in to the web chat of one fleet."""
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")


class Fleet:
    """`with Fleet(database=…) as fleet:` has it started. `broker`, `model`, `telegram` and, where it `remembers`,
    `honcho` are servers of its own.

    Where it is not cold its processes are forked, which spares them most of their start.
    """

    def __init__(
        self,
        *,
        database: Database,
        workers: int = 2,
        listeners: int = 1,
        webs: int = 0,
        beats: int = 1,
        without: tuple[str, ...] = (),
        settings: Mapping[str, str] | None = None,
        is_cold: bool = False,
        remembers: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self.database = database
        self.patience = patience
        """Seconds that traffic is given to settle."""
        self.folder = Path(tempfile.mkdtemp(prefix="hermes-chaos-"))
        self.broker = ValkeyServer()
        self.model = ModelPeer(keep=5_000)
        self.telegram = TelegramPeer()
        self.honcho = HonchoPeer(keep=100_000)
        self.remembers = remembers
        self.web_port = _free_port()
        self._counts = {"worker": workers, "listener": listeners, "web": webs, "beat": beats}
        self._without = without
        self._settings = dict(settings or {})
        self._traps = self._people = 0
        self._is_cold = is_cold
        self._is_broker_up = False
        self._end = contextlib.ExitStack()

    # --- Beginning and end -------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.open()
            self.start()
        except AssertionError as error:
            report = self.report()
            self.close()
            raise AssertionError(f"{error}\n{report}") from None
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Starts the servers, and none of the fleet's own processes."""
        self._end.callback(shutil.rmtree, self.folder, ignore_errors=True)
        for name in ("sprung", "home"):
            (self.folder / name).mkdir()
        self._end.callback(self.broker.stop)
        self.start_broker()
        self._end.enter_context(self.model)
        self._end.enter_context(self.telegram)
        if self.remembers:
            self._end.enter_context(self.honcho)
        self.processes = Processes(folder=ROOT, environment=self.environment(), is_cold=self._is_cold)
        self._end.callback(self.processes.close)

    def start(self, *kinds: str) -> None:
        """Starts the fleet's processes, or those of some kinds, and waits until they work."""
        started = [
            self._add(kind, number)
            for kind, count in self._counts.items()
            if not kinds or kind in kinds
            for number in range(1, count + 1)
        ]
        for child in started:
            self.wait_ready(child.name)

    def close(self) -> None:
        self._end.close()

    def _add(self, kind: str, number: int) -> Child:
        name = f"{kind}-{number}"
        words = {
            "worker": ("worker", "-P", "custom", "-Q", ",".join(Queue), "-n", f"{name}@%h", *QUIET),
            "beat": ("beat", "-l", "WARNING"),
            "listener": ("listen",),
            "web": ("serve",),
        }[kind]
        child = Child(name, words)
        self.processes.add(child)
        return child

    def environment(self) -> dict[str, str]:
        """What the fleet's processes get: nothing of the installation or the test run around them."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((*OWN_PREFIXES, "CHAOS_")) and name not in OWN_NAMES
        }
        return inherited | {
            **SETTINGS,
            "HERMES_HOME": str(self.folder / "home"),
            "DATABASE_URL": self.database.url,
            "REDIS_URL": self.broker.url,
            "OPENAI_BASE_URL": self.model.base_url,
            "TELEGRAM_BASE_URL": self.telegram.url,
            "HERMES_BIND": f"127.0.0.1:{self.web_port}",
            launch.FOLDER: str(self.folder),
            launch.WITHOUT: ",".join(self._without),
            launch.PEOPLE: str(PEOPLE),
            **({"HONCHO_BASE_URL": self.honcho.url} if self.remembers else {}),
            **self._settings,
        }

    # --- Waiting -----------------------------------------------------------------------------------------------

    def wait(self, until: Callable[[], T], what: str, *, seconds: float = PATIENCE) -> T:
        """The first true result of `until()`. Raises AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        while not (found := until()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:g} s for {what}")
            time.sleep(0.03)
        return found

    def wait_ready(self, name: str) -> None:
        """Until the process works, a listener also as a standby."""
        child = self.processes[name]
        ended = len(child.exits)

        def is_ready() -> bool:
            if child.exits[ended:][-3:] == [1, 1, 1]:
                raise AssertionError(f"{name} cannot start\n{tail(child, lines=60)}")
            return self._is_ready(child)

        self.wait(is_ready, f"{name} to be ready", seconds=START_PATIENCE)

    def _is_ready(self, child: Child) -> bool:
        if child.process is None:
            return False
        if not child.name.startswith("web"):
            return child.is_ready
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.web_port), timeout=1):
            return True
        return False

    def hearing(self, kind: str) -> Callable[[str], None]:
        """What waits until a process of this kind writes some words, from now on."""
        children = self.processes.of(kind)
        written = {child.name: child.written for child in children}

        def wait(words: str) -> None:
            self.wait(
                lambda: any(child.says(words, since=written[child.name]) for child in children),
                f"a {kind} to say: {words}",
            )

        return wait

    def report(self) -> str:
        """What the peers counted and the processes wrote, for a failure's message."""
        stats = self.model.stats
        stats.pop("by_text")
        seen = [f"model: {stats}", f"telegram: {self.telegram.stats}", *self._open_rows()]
        if self.remembers:
            seen.append(f"honcho: {self.honcho.stats}")
        return "\n".join([*seen, *(tail(child) for child in self.processes.all())])

    def _open_rows(self) -> list[str]:
        """What waits in the database, or is held by somebody."""
        queries = {
            "messages": "SELECT id, lane_id, seq, state, turn_id, text FROM gateway_app_inboundmessage"
            " WHERE state IN ('waiting', 'running')",
            "parts": "SELECT id, lane_id, seq, state, attempts, next_attempt_at, text FROM gateway_app_outboundpart"
            " WHERE state IN ('waiting', 'sending')",
            "lanes": "SELECT id, kind, key, lease_owner, lease_until, fence, tail, wake_at FROM gateway_app_lane"
            " WHERE lease_until IS NOT NULL OR wake_at IS NOT NULL",
        }
        return [f"open {name}: {[str(row)[:200] for row in self.database.query(sql)]}" for name, sql in queries.items()]

    # --- Breaking ----------------------------------------------------------------------------------------------

    def trap(self, kind: str, point: str, action: str = "kill", *, skip: int = 0, times: int = 1) -> Trap:
        """Has the first process of `kind` that comes to `point` kill or stop itself, after `skip` have passed."""
        if point not in POINTS[kind]:
            raise ValueError(f"there is no point {point!r} in a {kind}; there are: {', '.join(POINTS[kind])}")
        folder = self.folder / "traps" / kind / point
        folder.mkdir(parents=True, exist_ok=True)
        for name in ["pass"] * skip + [action] * times:
            self._traps += 1
            (folder / f"{self._traps:04d}-{name}").touch()
        return Trap(self, kind=kind, point=point, action=action, last=self._traps)

    def mend(self) -> None:
        """Makes the fleet whole again: no traps, no faults, every process there."""
        shutil.rmtree(self.folder / "traps", ignore_errors=True)
        self.model.script.set()
        self.telegram.clear_faults()
        self.honcho.clear_faults()
        self.start_broker()
        for child in self.processes.all():
            if child.is_stopped():
                child.signal(signal.SIGCONT)
            self.processes.resume(child.name)
        for child in self.processes.all():
            self.wait_ready(child.name)

    def pause(self) -> None:
        """Ends every process of the fleet until `resume()`."""
        for child in self.processes.all():
            self.processes.hold(child.name)

    def resume(self) -> None:
        """Starts them again, and does not wait for them."""
        for child in self.processes.all():
            self.processes.resume(child.name)

    def add(self, kind: str, number: int) -> None:
        """Starts one more process, for a while; `processes.remove()` ends it."""
        self.wait_ready(self._add(kind, number).name)

    def empty_broker(self) -> None:
        """Loses everything that is in the broker."""
        self._ask_broker("FLUSHALL")

    def has_rings(self) -> bool:
        """Whether turns are rung for that no worker has heard of."""
        return self._ask_broker(f"LLEN {KEY_PREFIX}turns") > 0

    def _ask_broker(self, command: str) -> int:
        with socket.create_connection(("127.0.0.1", self.broker.port), timeout=10) as connection:
            connection.sendall(f"{command}\r\n".encode())
            kind, rest = connection.recv(1).decode(), connection.recv(100).decode()
        if kind not in "+:":
            raise AssertionError(f"the broker answered {command} with {kind}{rest}")
        return int(rest) if kind == ":" else 0

    def stop(self, child: Child) -> None:
        """Has the kernel stop a process, outside of any transaction.

        SQLite has one writer: one that sleeps in its transaction holds up all others until it wakes.
        """

        def is_stopped() -> bool:
            child.signal(signal.SIGSTOP)
            self.wait(child.is_stopped, f"{child.name} to be stopped")
            if self.database.is_free():
                return True
            child.signal(signal.SIGCONT)
            return False

        self.wait(is_stopped, f"{child.name} to be outside of a transaction")

    def start_broker(self) -> None:
        if not self._is_broker_up:
            self.broker.start()
            self._is_broker_up = True

    def kill_broker(self) -> None:
        if self._is_broker_up:
            self.broker.kill()
            self._is_broker_up = False

    def take_people(self, count: int) -> list[tuple[str, str]]:
        """Names and sign-in links of people at the web chat whom nobody has taken yet."""
        lines = (self.folder / "people").read_text().splitlines()
        taken = [tuple(line.split(" ")) for line in lines[self._people : self._people + count]]
        self._people += count
        if len(taken) < count:
            raise ValueError(f"the fleet has {len(lines)} people; PEOPLE is too low for {self._people}")
        return [(name, link) for name, link in taken]

    def holder(self, kind: str = "turns") -> Child:
        """The worker that holds a lane of this kind; waits until one does."""

        def find() -> Child | None:
            rows = self.database.query(
                "SELECT lease_owner FROM gateway_app_lane WHERE kind = %s AND lease_until IS NOT NULL", kind
            )
            pids = {int(owner.split(":")[1]) for (owner,) in rows if owner}
            return next((child for child in self.processes.of("worker") if child.pid in pids), None)

        return self.wait(find, f"a worker to hold a lane of kind {kind}")


class Trap:
    """A trap that has been set."""

    def __init__(self, fleet: Fleet, *, kind: str, point: str, action: str, last: int) -> None:
        self._fleet = fleet
        self._pattern = f"{point}-{last:04d}-{action}-*"
        self._what = f"a {kind} to {action} itself at {point!r}"

    def wait(self) -> int:
        """Until it has sprung to its last time; returns the pid of the process."""
        found = self._fleet.wait(lambda: list((self._fleet.folder / "sprung").glob(self._pattern)), self._what)
        return int(found[0].name.rpartition("-")[2])

    def wait_stopped(self) -> Child:
        """Until it has sprung and the kernel has stopped the process."""
        pid = self.wait()
        child = self._fleet.processes.with_pid(pid)
        self._fleet.wait(child.is_stopped, f"{child.name} to be stopped")
        return child
