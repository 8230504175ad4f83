"""The Celery tasks of memory, as thin as those of the gateway."""

from __future__ import annotations

from celery import shared_task

from gateway_app.queues import Queue
from gateway_app.tasks import database_needed
from gateway_app.worker.coroutine_task import CoroutineTask
from gateway_app.worker.database import in_database

from . import sending, writes


@shared_task(base=CoroutineTask, queue=Queue.HONCHO.value)
async def write_honcho(key: str) -> None:
    """Writes what is due to the session of this Honcho session key."""
    with database_needed("writing to Honcho"):
        await sending.write_lane(key=key)


@shared_task(base=CoroutineTask, queue=Queue.MAINTENANCE.value)
async def forget_written() -> None:
    """Removes what was written to Honcho long ago from the database."""
    with database_needed("look at what was written to Honcho"):
        while await in_database(writes.forget_sent):
            pass
