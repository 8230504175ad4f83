"""Lets Django empty the audit's table between tests, which its triggers refuse to everybody.

Only the flush of a test case passes: while one test runs the triggers stand as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.operations import BaseDatabaseOperations

TABLE = "gateway_app_auditentry"


def install() -> None:
    """Call once in each process that runs tests."""
    flush = BaseDatabaseOperations.execute_sql_flush
    setattr(BaseDatabaseOperations, flush.__name__, _flushing(flush))


def _flushing(flush: Any) -> Any:
    def execute_sql_flush(self: BaseDatabaseOperations, sql_list: Any) -> None:
        with without_triggers(self.connection):
            flush(self, sql_list)

    return execute_sql_flush


@contextmanager
def without_triggers(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Within the block the audit's rows can be changed, as by somebody who owns the database."""
    if connection.vendor == "postgresql":
        before, after = [f"ALTER TABLE {TABLE} DISABLE TRIGGER USER"], [f"ALTER TABLE {TABLE} ENABLE TRIGGER USER"]
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [TABLE])
            triggers = cursor.fetchall()
        before, after = [f"DROP TRIGGER {name}" for name, _ in triggers], [sql for _, sql in triggers]
    _run(connection, before)
    try:
        yield
    finally:
        _run(connection, after)


def _run(connection: BaseDatabaseWrapper, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
