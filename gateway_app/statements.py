"""SQL by hand for the roads that every message takes: several statements go to the database in one trip.

A trip to PostgreSQL costs a worker and the server together some 0.2 ms of CPU whatever it carries, and a statement
through the ORM 0.3 ms more. The rest of the project uses the ORM.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connection, models

Value = str | int | float | datetime | None
Row = tuple[Any, ...]


class Statement(NamedTuple):
    """One SQL statement and its parameters."""

    sql: str
    values: Sequence[Value] = ()


def execute(*statements: Statement) -> list[list[Row]]:
    """Runs the statements in their order and returns the rows of each; each sees what those before it did.

    On PostgreSQL they travel together, and each is planned once per connection. Must run in a transaction, so that
    they hold or fall together on any database.
    """
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            return [_run(cursor, statement) for statement in statements]
        return _travel(cursor, statements)


def _run(cursor: Any, statement: Statement) -> list[Row]:
    cursor.execute(statement.sql, statement.values)
    return _rows(cursor)


def _travel(cursor: Any, statements: Sequence[Statement]) -> list[list[Row]]:
    prepared = _prepared.setdefault(connection.connection, {})
    words: list[str] = []
    results: list[int] = []
    for statement in statements:
        if statement.sql not in prepared and settings.DATABASE_PREPARE and len(prepared) < MOST_PREPARED:
            prepared[statement.sql] = f"hermes_{next(_names)}"
            words.append(f"PREPARE {prepared[statement.sql]} AS {_numbered(statement.sql)}")
        results.append(len(words))
        words.append(_calling(prepared.get(statement.sql), statement))
    try:
        cursor.execute("; ".join(words), [value for statement in statements for value in statement.values])
    except Exception:
        prepared.clear()  # which of them the server knows by now is not known; new names will do
        raise
    found = [_rows(cursor)]
    while cursor.nextset():
        found.append(_rows(cursor))
    return [found[result] for result in results]


MOST_PREPARED = 200
"""Statements a connection keeps planned; inserts of many different numbers of rows would fill the server's memory."""

_prepared: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()
_names = itertools.count(1)


def _calling(name: str | None, statement: Statement) -> str:
    if name is None:
        return statement.sql
    return f"EXECUTE {name}({', '.join(['%s'] * len(statement.values))})" if statement.values else f"EXECUTE {name}"


@functools.lru_cache(maxsize=1000)
def _numbered(sql: str) -> str:
    """`sql` with its parameters written as PREPARE wants them."""
    first, *rest = sql.split("%s")
    return first + "".join(f"${number}{text}" for number, text in enumerate(rest, start=1))


def _rows(cursor: Any) -> list[Row]:
    return list(cursor.fetchall()) if cursor.description else []


class Sql(NamedTuple):
    """A value that is written as SQL of its own, such as a subquery, with its parameters."""

    sql: str
    values: Sequence[Value] = ()


def insert(
    model: type[models.Model],
    *,
    columns: Sequence[str],
    rows: Sequence[Sequence[Value | Sql]],
    returning: Sequence[str] = (),
    ignore_conflicts: bool = False,
) -> Statement:
    """The statement that inserts `rows`; it yields the `returning` columns of those that were inserted."""
    values: list[Value] = []
    written: list[str] = []
    for row in rows:
        places: list[str] = []
        for value in row:
            places.append(f"({value.sql})" if isinstance(value, Sql) else "%s")
            values.extend(value.values if isinstance(value, Sql) else (value,))
        written.append(f"({', '.join(places)})")
    sql = f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) VALUES {', '.join(written)}"
    if ignore_conflicts:
        sql += " ON CONFLICT DO NOTHING"
    if returning:
        sql += f" RETURNING {', '.join(returning)}"
    return Statement(sql, values)
