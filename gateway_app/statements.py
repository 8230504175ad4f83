"""SQL by hand for the roads that every message takes: several statements go to the database in one trip.

A trip to PostgreSQL costs a worker and the server together some 0.2 ms of CPU whatever it carries, and a statement
through the ORM 0.3 ms more. The rest of the project uses the ORM.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connection, models
from psycopg.adapt import Transformer

Value = str | int | float | datetime | None
Row = tuple[Any, ...]


class Statement(NamedTuple):
    """One SQL statement and its parameters."""

    sql: str
    values: Sequence[Value] = ()
    locks: str = ""
    """The lane whose row it locks, for those that travel with statements of other lanes."""


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
    return list(cursor.fetchall()) if cursor.description else []


def _travel(cursor: Any, statements: Sequence[Statement]) -> list[list[Row]]:
    server = connection.connection
    prepared = _prepared.setdefault(server, Prepared())
    quote = Transformer(server).as_literal  # not kept: it holds the connection
    words: list[str] = []
    results: list[int] = []
    if server.pgconn.transaction_status == IDLE and not server.autocommit:
        server.autocommit = True  # otherwise psycopg begins the transaction in a trip of its own
        words.append("BEGIN")
    try:
        with connection.wrap_database_errors:
            for statement in statements:
                preparing = prepared.preparing(statement.sql)
                if preparing:
                    words.append(preparing)
                results.append(len(words))
                words.append(prepared.calling(statement, quote))
        cursor.execute("; ".join(words))
    except Exception:
        prepared.forget()
        raise
    received = cursor.cursor  # all of it: from here on nothing fails, so that Django's translation of errors is spared
    found = [_rows(received)]
    while received.nextset():
        found.append(_rows(received))
    return [found[result] for result in results]


IDLE = 0
"""No transaction is under way: PQTRANS_IDLE of libpq."""
MOST_PREPARED = 200
"""Statements a connection keeps planned; inserts of many different numbers of rows would fill the server's memory."""


Quote = Callable[[Any], Any]
"""Writes a value as libpq quotes it for a connection."""


class Prepared:
    """The statements that one connection keeps planned.

    Values are written into the text of a trip. Psycopg's own way to do that reads through the whole text first, and for
    trips of several turns, which are hardly ever alike, anew each time.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._failures = 0

    def preparing(self, sql: str) -> str:
        """What has the server plan a statement; empty where it is planned already, or will not be."""
        if sql in self._names or not settings.DATABASE_PREPARE or len(self._names) >= MOST_PREPARED:
            return ""
        self._names[sql] = f"hermes_{len(self._names)}_{self._failures}"
        return f"PREPARE {self._names[sql]} AS {_numbered(sql)}"

    def calling(self, statement: Statement, quote: Quote) -> str:
        """What runs the statement, with its values."""
        name = self._names.get(statement.sql)
        quoted = ["NULL" if value is None else bytes(quote(value)).decode() for value in statement.values]
        if name is None:
            return _filled(statement.sql, quoted)
        return f"EXECUTE {name}({', '.join(quoted)})" if quoted else f"EXECUTE {name}"

    def forget(self) -> None:
        """After a failure it is not known which of them the server has; new names will do."""
        self._names.clear()
        self._failures += 1


_prepared: WeakKeyDictionary[Any, Prepared] = WeakKeyDictionary()


@functools.lru_cache(maxsize=1000)
def _numbered(sql: str) -> str:
    """`sql` with its parameters written as PREPARE wants them."""
    first, *rest = _pieces(sql)
    return first + "".join(f"${number}{text}" for number, text in enumerate(rest, start=1))


def _filled(sql: str, quoted: Sequence[str]) -> str:
    first, *rest = _pieces(sql)
    return first + "".join(value + text for value, text in zip(quoted, rest, strict=True))


def _pieces(sql: str) -> list[str]:
    """What stands between the parameters of `sql`."""
    return [piece.replace("%%", "%") for piece in sql.split("%s")]


def _rows(cursor: Any) -> list[Row]:
    """The rows of psycopg's current result. Asking for `description` instead would describe every column."""
    return cursor.fetchall() if cursor.pgresult.nfields else []


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
