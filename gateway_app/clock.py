"""The database's time in SQL. Leases compare only this clock, so the clocks of the workers' machines do not matter."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connection


def now() -> str:
    """SQL for the present moment; within a transaction it moves on."""
    if connection.vendor == "sqlite":
        return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    return "clock_timestamp()"


def later() -> str:
    """SQL for a moment after now; its one parameter is the distance in seconds."""
    if connection.vendor == "sqlite":
        return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s || ' seconds')"
    return "(clock_timestamp() + %s * interval '1 second')"


def parameter(moment: datetime | None) -> str | datetime | None:
    """`moment` as a parameter of raw SQL."""
    adapted: str | datetime | None = connection.ops.adapt_datetimefield_value(moment) if moment else None
    return adapted


def moment(value: datetime | str | None) -> datetime | None:
    """A moment as raw SQL returns it: SQLite has it without a zone, a column's as a datetime, any other as text."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found


def read() -> datetime:
    """The database's time, for ages shown to people."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {now()}", [])
        (value,) = cursor.fetchone()
    found = moment(value)
    assert found is not None
    return found
