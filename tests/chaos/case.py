"""The base of the normal run's kill tests: one fleet for a class, on a copy of the run's test database."""

from __future__ import annotations

import unittest
from typing import Any, ClassVar

from django.db import connections

from gateway_app.worker.database import close_database_threads
from tests.chaos import scenario
from tests.chaos.database import Database, opened, unique_name
from tests.chaos.fleet import Fleet
from tests.dear import dear
from tests.processes import database_url


class ChaosTestCase(unittest.TestCase):
    """`prove(scenario function)` runs it. `fleet_options` go to `Fleet`. Its tests are dear (`tests.dear`)."""

    databases = frozenset({"default"})
    """Has the runner make the test database."""
    is_long = True
    """Has the runner begin with it."""
    fleet_options: ClassVar[dict[str, Any]] = {}
    _fleet: ClassVar[Fleet | None] = None

    def __init_subclass__(cls) -> None:
        dear(cls)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.close_fleet()

    @classmethod
    def new_database(cls) -> Database:
        close_database_threads()
        connections.close_all()
        return opened(database_url()).copy(unique_name())

    @classmethod
    def close_fleet(cls) -> None:
        fleet, cls._fleet = cls._fleet, None
        if fleet:
            fleet.close()
            fleet.database.drop()

    def prove(self, run: scenario.Run) -> None:
        """Runs the scenario in the class's fleet. After a failure the next test gets a new one."""
        cls = type(self)
        try:
            if cls._fleet is None:
                cls._fleet = Fleet(database=cls.new_database(), **cls.fleet_options).__enter__()
            scenario.prove(scenario.of(run), cls._fleet)
        except BaseException:
            cls.close_fleet()
            raise
