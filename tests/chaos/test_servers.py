"""Beat, the broker and the database go away under a fleet; `make chaos` has more, and writes docs/chaos.md."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import ClassVar

from django.db import connection

from tests.chaos.case import ChaosTestCase
from tests.chaos.database import Database, Postgres, migrated
from tests.chaos.scenarios import faults, servers
from tests.postgres import PostgresServer


class LostServerTests(ChaosTestCase):
    def test_beat_is_killed(self) -> None:
        self.prove(servers.beat_killed)

    def test_the_broker_is_flushed(self) -> None:
        self.prove(servers.flushed)

    def test_the_broker_comes_back_empty(self) -> None:
        self.prove(servers.restarted_empty)

    def test_the_broker_dies_under_busy_workers(self) -> None:
        self.prove(servers.killed_while_workers_are_busy)

    def test_the_database_is_locked(self) -> None:
        self.prove(servers.database_locked)

    def test_the_database_takes_no_writes(self) -> None:
        self.prove(servers.database_read_only)

    def test_telegram_drops_connections(self) -> None:
        self.prove(faults.dropped_answers)


if connection.vendor == "postgresql":

    class CrashedDatabaseTests(ChaosTestCase):
        """With a server of its own, which no other test needs."""

        _server: ClassVar[PostgresServer | None] = None

        @classmethod
        def new_database(cls) -> Database:
            cls._server = PostgresServer(options=("fsync=off", "full_page_writes=off"))
            home = tempfile.mkdtemp(prefix="hermes-home-")
            try:
                database = Postgres(cls._server.url, server=cls._server)
                return migrated(database, environment={**os.environ, "HERMES_HOME": home})
            finally:
                shutil.rmtree(home)

        @classmethod
        def close_fleet(cls) -> None:
            super().close_fleet()
            if cls._server:
                cls._server.stop()
                cls._server = None

        def test_the_server_crashes_and_comes_back(self) -> None:
            self.prove(servers.database_crashed)

        def test_the_server_is_not_there_at_the_start(self) -> None:
            self.prove(servers.database_down_at_start)
