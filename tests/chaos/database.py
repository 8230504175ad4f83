"""The databases of the suite: one for each fleet, made as a copy of an empty one, and read without Django."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg

from tests.postgres import PostgresServer

ROOT = Path(__file__).parent.parent.parent
ANSWER_SECONDS = 30
"""How long a server that is being restarted may take to answer."""


class Database(ABC):
    """A database with the gateway's tables."""

    vendor: str
    url: str

    @abstractmethod
    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows; `%s` stands for each value."""

    @abstractmethod
    def copy(self, name: str) -> Database:
        """A copy of this one, which nobody may be using."""

    @abstractmethod
    def drop(self) -> None:
        """Nobody may be using it any more."""

    @abstractmethod
    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Within the block nobody else's transaction can commit a change."""

    @abstractmethod
    def is_free(self) -> bool:
        """Whether nobody's transaction keeps all others from writing."""

    @abstractmethod
    def refusing_writes(self, pids: list[int]) -> contextlib.AbstractContextManager[None]:
        """Within the block the processes `pids` can read and not write."""

    @abstractmethod
    def crashed(self) -> contextlib.AbstractContextManager[None]:
        """Crashes the server; it comes back at the end of the block."""


class Sqlite(Database):
    vendor = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{quote(str(path))}"

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(self._connect()) as connection:
            return connection.execute(sql.replace("%s", "?"), values).fetchall()

    def copy(self, name: str) -> Sqlite:
        made = Sqlite(self.path.with_name(f"{name}.sqlite3"))
        with contextlib.closing(self._connect()) as source, contextlib.closing(made._connect()) as target:
            source.backup(target)
        return made

    def drop(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with contextlib.closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.rollback()

    def is_free(self) -> bool:
        with contextlib.closing(sqlite3.connect(self.path, timeout=0.2, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.rollback()
            return True

    @contextlib.contextmanager
    def refusing_writes(self, pids: list[int]) -> Iterator[None]:
        # As on a full disk: no file may grow, or change, by their hand.
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def crashed(self) -> contextlib.AbstractContextManager[None]:
        raise NotImplementedError("SQLite has no server")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30, isolation_level=None)


class Postgres(Database):
    vendor = "postgresql"

    def __init__(self, url: str, *, server: PostgresServer | None = None) -> None:
        self.url = url
        self._server = server

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    cursor = connection.execute(sql.encode(), values)
                    return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def copy(self, name: str) -> Postgres:
        made = Postgres(self._url_of(name), server=self._server)
        with psycopg.connect(self._url_of("postgres"), autocommit=True) as connection:
            # What tests before this one have left open, such as the connection of a thread that idles.
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name])
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self.name}"'.encode())
        return made

    def drop(self) -> None:
        with psycopg.connect(self._url_of("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)'.encode())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with psycopg.connect(self.url) as connection:
            connection.execute("LOCK TABLE gateway_app_lane IN EXCLUSIVE MODE")
            yield
            connection.rollback()

    def is_free(self) -> bool:
        return True

    @contextlib.contextmanager
    def refusing_writes(self, pids: list[int]) -> Iterator[None]:
        # As after a failover to a server that is still a replica.
        self._reconnect_all(f'ALTER DATABASE "{self.name}" SET default_transaction_read_only = on')
        try:
            yield
        finally:
            self._reconnect_all(f'ALTER DATABASE "{self.name}" RESET default_transaction_read_only')

    def _reconnect_all(self, sql: str) -> None:
        """Changes a setting that connections take at their beginning, and ends those there are."""
        with psycopg.connect(self._url_of("postgres"), autocommit=True) as connection:
            connection.execute(sql.encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name])

    @contextlib.contextmanager
    def crashed(self) -> Iterator[None]:
        assert self._server, "this database's server is not ours to crash"
        self._server.crash()
        try:
            yield
        finally:
            self._server.start()

    @property
    def name(self) -> str:
        return urlsplit(self.url).path.lstrip("/")

    def _url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))


def opened(url: str) -> Database:
    """The database behind a DATABASE_URL."""
    return Sqlite(Path(url.removeprefix("sqlite:///"))) if url.startswith("sqlite") else Postgres(url)


def migrated(database: Database, *, environment: dict[str, str]) -> Database:
    """Makes the tables in an empty database."""
    variables = {**os.environ, **environment, "DATABASE_URL": database.url}
    command = [sys.executable, "manage.py", "migrate", "--no-input", "-v", "0"]
    subprocess.run(command, cwd=ROOT, env=variables, check=True, timeout=120)
    return database


def unique_name() -> str:
    return f"chaos_{os.getpid()}_{time.monotonic_ns():x}"
