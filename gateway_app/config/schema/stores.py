from __future__ import annotations

import os
from typing import Any

from gateway_app.config.kinds import BrokerUrl, DatabaseUrl, Flag, Number, RedisUrl, Text, Whole
from gateway_app.config.setting import Section, setting


class Database(Section):
    key = "database"
    heading = "Database"

    url: DatabaseUrl = setting("DATABASE_URL", is_secret=True, default_words="`state/db.sqlite3` in `HERMES_HOME`")
    """PostgreSQL beyond one machine; SQLite is enough for one."""
    prepare: Flag = setting("HERMES_DATABASE_PREPARE", True)
    """PostgreSQL keeps the pipeline's statements planned for each connection. Off behind a pooler that changes the
    server connection between transactions, such as PgBouncer in transaction mode."""
    threads: Whole = setting("HERMES_DATABASE_THREADS", 2, least=1, most=64)
    """Threads (and so connections) per worker process for database work. SQLite always gets one: it has one writer."""
    batch: Whole = setting("HERMES_DATABASE_BATCH", 16, least=1, most=200)
    """Steps of as many turns share a transaction where they wait for the database at the same moment. 1: none do."""
    check_seconds: Number = setting("HERMES_DATABASE_CHECK_SECONDS", 5)
    """A connection idle for longer is asked whether it still lives before its next use; a busy one costs no such
    query."""
    stuck_seconds: Number = setting("HERMES_DATABASE_STUCK_SECONDS", 8, most=3600)
    """PostgreSQL ends a transaction that does nothing for so long: a process that was stopped in one, or whose machine
    vanished, would hold its locks, and so hold up whoever takes its lanes over. Shorter than the leases. 0 leaves it to
    the server, as a pooler that takes no `options` at the start of a connection needs it."""


def _redis(values: dict[str, Any]) -> str:
    return str(values["redis_url"])


class Broker(Section):
    key = "broker"
    heading = "Broker"

    redis_url: RedisUrl = setting("REDIS_URL", "redis://127.0.0.1:6379/0", is_secret=True)
    """Web-chat streams, and the broker unless CELERY_BROKER_URL names another server."""
    key_prefix: Text = setting("HERMES_KEY_PREFIX", "hermes:")
    """Begins every key in Redis, so that installations can share a server."""
    url: BrokerUrl = setting("CELERY_BROKER_URL", is_secret=True, work_out=_redis, default_words="`REDIS_URL`")
    """Where tasks go, if not to Redis: RabbitMQ, with quorum queues."""


class Workers(Section):
    key = "workers"
    heading = "Workers"

    processes: Whole = setting("HERMES_WORKERS", os.cpu_count() or 1, least=1, most=256, default_words="one per core")
    """Worker processes of the all-in-one; one per core, since one process fills one core."""
    concurrency: Whole = setting("HERMES_WORKER_CONCURRENCY", 600, least=1, most=10_000)
    """Turns one worker process holds in flight; each costs about 50 kB while it waits for the model."""
    threads: Whole = setting("HERMES_WORKER_THREADS", 2, least=1, most=64)
    """Threads (and so connections) per worker process for tasks that are not coroutines: sweeps, pruning."""
    cancel_grace_seconds: Number = setting("HERMES_CANCEL_GRACE_SECONDS", 5, least=0.1, most=300)
    """How long a cancelled task's `finally` blocks may take, at a cold shutdown too, before it is left to itself."""
