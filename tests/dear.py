"""Tests that are dear: each starts a whole fleet, a browser or another program, for up to half a minute of both cores.

In a normal run each of them runs on one of the two databases, one half here and one half there. With `--thorough`, or
`TESTS_THOROUGH=1`, all run on both; `make chaos` runs the scenarios on both in any case, and many more of them.
"""

from __future__ import annotations

import os
import zlib
from typing import TypeVar

from django.db import connection

THOROUGH = "TESTS_THOROUGH"

T = TypeVar("T", bound=type)


def dear(tests: T) -> T:
    """Leaves a class those of its tests that fall to this database, by their names."""
    if not os.environ.get(THOROUGH):
        for name in [name for name in vars(tests) if name.startswith("test_")]:
            falls_to_sqlite = zlib.crc32(f"{tests.__name__}.{name}".encode()) % 2 == 0
            if falls_to_sqlite != (connection.vendor == "sqlite"):
                delattr(tests, name)
    return tests
