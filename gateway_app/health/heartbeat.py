"""Heartbeats: when something last proved that it works."""

from __future__ import annotations

from django.db import connection

from gateway_app import clock
from gateway_app.models import Heartbeat

TABLE = Heartbeat._meta.db_table
CANARY = "canary"


def record_canary() -> None:
    """Notes, by the database's clock, that a task has come through the queue. Safe to run at once and late."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (name, beat_at) VALUES (%s, {clock.now()})"
            " ON CONFLICT (name) DO UPDATE SET beat_at = excluded.beat_at",
            [CANARY],
        )
