"""Inserts many rows in one statement, for the roads where the ORM's 0.3 ms per statement counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection, models

Value = str | int | float | None


def insert(
    model: type[models.Model],
    *,
    columns: Sequence[str],
    rows: Sequence[Sequence[Value]],
    returning: Sequence[str] = (),
    ignore_conflicts: bool = False,
) -> list[tuple[Any, ...]]:
    """Inserts `rows` and returns the `returning` columns of those that were inserted."""
    row_sql = f"({', '.join(['%s'] * len(columns))})"
    sql = f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) VALUES {', '.join([row_sql] * len(rows))}"
    if ignore_conflicts:
        sql += " ON CONFLICT DO NOTHING"
    if returning:
        sql += f" RETURNING {', '.join(returning)}"
    with connection.cursor() as cursor:
        cursor.execute(sql, [value for row in rows for value in row])
        return list(cursor.fetchall()) if returning else []
