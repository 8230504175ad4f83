"""Tests that are dear: each starts a whole fleet, a browser or another test runner, for half a minute of both cores.

In a normal run each of them runs on one of the two databases, one half here and one half there. With `--thorough`, or
`TESTS_THOROUGH=1`, all run on both; `make chaos` runs the scenarios on both in any case, and many more of them.
"""

from __future__ import annotations

import os
from typing import TypeVar

from django.db import connection

THOROUGH = "TESTS_THOROUGH"

T = TypeVar("T", bound=type)


def dear(tests: T) -> T:
    """Leaves a class every other of its tests, by their names: the odd ones on SQLite, the even ones on PostgreSQL."""
    if not os.environ.get(THOROUGH):
        for place, name in enumerate(sorted(name for name in vars(tests) if name.startswith("test_"))):
            if (place % 2 == 0) != (connection.vendor == "sqlite"):
                delattr(tests, name)
    return tests
