"""Empties the database between tests: only the tables that have rows, where Django truncates all of them.

That took PostgreSQL 0.15 to 1 s after each test on two slow cores.
"""

from __future__ import annotations

import functools
from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TransactionTestCase

from hermes_site import audit_in_tests

KEPT = (ContentType._meta.db_table, Permission._meta.db_table)
"""What migrating writes. Where a test has changed that, Django makes all of it anew."""

_kept: dict[str, Any] = {}
"""How Django made them, by database."""


def install() -> None:
    """Call once in each process that runs tests."""
    flush: Any = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]

    def _fixture_teardown(self: Any) -> None:
        names = self._databases_names(include_mirrors=False)
        if self.available_apps is not None or self.serialized_rollback:
            flush(self)
        elif not all(empty(connections[name]) for name in names):
            flush(self)
            for name in names:
                _kept[str(connections[name].settings_dict["NAME"])] = _counted(connections[name])

    setattr(TransactionTestCase, flush.__name__, _fixture_teardown)


def empty(connection: BaseDatabaseWrapper) -> bool:
    """Deletes all rows but those of KEPT; false where these are not as Django made them, or nobody knows that yet."""
    if _kept.get(str(connection.settings_dict["NAME"])) != _counted(connection):
        return False
    with connection.cursor() as cursor:
        cursor.execute(_finding_full(_tables(connection.alias)))
        full = [table for (table,) in cursor.fetchall()]
        if audit_in_tests.TABLE in full:
            full.remove(audit_in_tests.TABLE)
            with audit_in_tests.without_triggers(connection):
                cursor.execute(f"DELETE FROM {audit_in_tests.TABLE}")
        with transaction.atomic(using=connection.alias):
            for table in full:
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")
    return True


def _counted(connection: BaseDatabaseWrapper) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT count(*), coalesce(max(id), 0) FROM {table}" for table in KEPT))
        return list(cursor.fetchall())


@functools.cache
def _finding_full(tables: tuple[str, ...]) -> str:
    return " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in tables)


@functools.cache
def _tables(alias: str) -> tuple[str, ...]:
    found = connections[alias].introspection.django_table_names(only_existing=True, include_views=False)
    return tuple(sorted(set(found) - set(KEPT)))
