"""The beat schedule: what the fleet does by the clock, written into django-celery-beat's tables.

The settings own each entry's task, period, queue and expiry, and `ensure()` puts them back at every start.
Whether an entry is enabled belongs to the operator, and entries with other names are never touched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from gateway_app.queues import Queue

ACCESS_SECONDS = 60
"""How often what has ended is taken back. Nothing waits for it: it ceases to count by itself at its time."""
SESSION_SECONDS = 300
"""How often sessions are ended that are over by the clock. Nobody waits for it: the next message would end them too."""
FLUSH_SECONDS = 15
"""How often flushes of memory are looked for. Those of sessions that people left are rung for at once."""
MEDIA_SECONDS = 600
"""How often files are let go of. Nothing waits for it: they are not shown any more from their time on."""
WRITES_SECONDS = 86_400
"""How often messages that were written to Honcho are removed here. Nothing waits for it but space."""
LEAST_EXPIRY_SECONDS = 10
"""A fleet with no time to spare takes tasks seconds late; those of shorter periods must not all expire meanwhile."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A task that beat publishes every `seconds`."""

    name: str
    task: str
    seconds: float
    description: str

    @property
    def expire_seconds(self) -> int:
        """A task that nobody took before the next one is due is of no use; whole seconds.

        At least LEAST_EXPIRY_SECONDS, so that workers which are late for a while still sweep.
        """
        return max(LEAST_EXPIRY_SECONDS, math.ceil(self.seconds))


def entries() -> list[Entry]:
    """Everything that the gateway schedules, with the periods that the settings ask for."""
    return [
        Entry(
            "gateway: sweep",
            "gateway_app.tasks.sweep",
            settings.SWEEP_SECONDS,
            "Rings for lanes that have something due and no worker. Without it a lost ring is never made good.",
        ),
        Entry(
            "gateway: canary",
            "gateway_app.tasks.canary",
            settings.CANARY_SECONDS,
            "Proves that tasks come through the queue. Without it /readyz fails.",
        ),
        Entry(
            "gateway: access",
            "gateway_app.tasks.tend_access",
            ACCESS_SECONDS,
            "Ends pairing codes and rules whose time is over, and audits what the configuration says of access.",
        ),
        Entry(
            "gateway: sessions",
            "gateway_app.tasks.end_sessions",
            SESSION_SECONDS,
            "Ends sessions that are over by the clock, where session_reset asks for that.",
        ),
        Entry(
            "gateway: flushes",
            "gateway_app.tasks.flush_memory",
            FLUSH_SECONDS,
            "Saves what is worth remembering of sessions that were put aside, or soon are.",
        ),
        Entry(
            "gateway: media",
            "gateway_app.tasks.expire_media",
            MEDIA_SECONDS,
            "Lets go of files that people and the agent sent, once media.keep_hours are over.",
        ),
        Entry(
            "gateway: memory writes",
            "honcho_app.tasks.forget_written",
            WRITES_SECONDS,
            "Removes messages that were written to Honcho, once honcho.write_keep_days are over.",
        ),
    ]


def ensure() -> int:
    """Makes the tables agree with `entries()`; returns how many rows were written.

    Safe to run at every start and in several processes at once; where nothing differs nothing is written, so
    that a running beat does not load its schedule again.
    """
    with transaction.atomic():
        written = sum(_ensure(entry) for entry in entries())
        if written:
            PeriodicTasks.update_changed()
    return written


def _ensure(entry: Entry) -> bool:
    wanted = {
        "task": entry.task,
        "interval_id": _interval(entry.seconds).pk,
        "crontab_id": None,
        "solar_id": None,
        "clocked_id": None,
        "args": "[]",
        "kwargs": "{}",
        "queue": Queue.MAINTENANCE.value,
        "expires": None,
        "expire_seconds": entry.expire_seconds,
        "one_off": False,
        "description": entry.description,
    }
    rows = PeriodicTask.objects.filter(name=entry.name)
    found = rows.values(*wanted).first()
    if found == wanted:
        return False
    if found is None:
        # A run of long ago makes it due at once: a new installation is ready as soon as its first canary is back.
        row = PeriodicTask(name=entry.name, last_run_at=timezone.now() - timedelta(days=1), **wanted)
        # Ignored where another process has just made the row.
        PeriodicTask.objects.bulk_create([row], ignore_conflicts=True)
    rows.update(**wanted)
    return True


def _interval(seconds: float) -> IntervalSchedule:
    """The first interval of this length. Two processes may each make one; any serves."""
    if seconds == int(seconds):
        wanted = {"every": int(seconds), "period": IntervalSchedule.SECONDS}
    else:
        wanted = {"every": round(seconds * 1_000_000), "period": IntervalSchedule.MICROSECONDS}
    found = IntervalSchedule.objects.filter(**wanted).order_by("pk").first()
    return found or IntervalSchedule.objects.create(**wanted)
