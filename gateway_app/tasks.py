"""The Celery tasks: load, call one function. The rows are the truth, so each may run twice or not at all."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from celery import shared_task

from gateway_app import doorbell
from gateway_app.access import configuration, limits, pairing, roles, rules
from gateway_app.config import live
from gateway_app.delivery.sender import deliver_lane
from gateway_app.health.heartbeat import record_canary
from gateway_app.media import expiry as expiry_of_media
from gateway_app.queues import Queue
from gateway_app.sessions import expiry, flushes
from gateway_app.sessions.source import SessionContext
from gateway_app.turns.runner import run_sessions
from gateway_app.worker import garbage  # noqa: F401  (connects to the worker's start)
from gateway_app.worker.coroutine_task import CoroutineTask
from gateway_app.worker.database import OUT_OF_REACH, in_database
from gateway_app.worker.http import http_session
from honcho_app import flush, migration, recall_cache

log = logging.getLogger(__name__)


@contextlib.contextmanager
def database_needed(what: str) -> Iterator[None]:
    """Ends the task with one line in the log where the database is out of reach: the row waits for the next ring."""
    try:
        yield
    except OUT_OF_REACH as error:
        words = " ".join(str(error).split())
        log.error("No %s: the database is out of reach (%s: %s).", what, type(error).__name__, words)


@shared_task(base=CoroutineTask, queue=Queue.TURNS.value)
async def run_turn(*contexts: dict[str, str]) -> None:
    """Answers what waits in the session of each of `contexts` (`SessionContext` as JSON), all at once."""
    found = [SessionContext.from_json(context) for context in contexts]
    with database_needed("turn"):
        await run_sessions(found, http=http_session())


@shared_task(base=CoroutineTask, queue=Queue.DELIVERY.value)
async def deliver(key: str) -> None:
    """Sends what is due in the chat with this delivery key."""
    with database_needed("delivery"):
        await deliver_lane(key=key, http=http_session())


@shared_task(base=CoroutineTask, queue=Queue.MAINTENANCE.value)
async def sweep() -> None:
    """Rings for every lane that has something due and no worker."""
    with database_needed("sweep"):
        await in_database(doorbell.sweep)


@shared_task(base=CoroutineTask, queue=Queue.MAINTENANCE.value)
async def canary() -> None:
    """Proves that tasks get through the queue; /readyz looks at its age."""
    with database_needed("canary"):
        await in_database(record_canary)


@shared_task(base=CoroutineTask, queue=Queue.MAINTENANCE.value)
async def end_sessions() -> None:
    """Ends the sessions that are over by the clock, so that their memory is flushed before their people come back, and
    deletes what was recalled for those to which nobody came back.
    """
    with database_needed("look at sessions that are over"):
        after: str | None = ""
        while after is not None:
            after = await in_database(expiry.end_due, after=after)
        await in_database(recall_cache.forget_unused, days=live.config().recall.keep_days)


@shared_task(base=CoroutineTask, queue=Queue.MAINTENANCE.value)
async def flush_memory() -> None:
    """Saves what is worth remembering of sessions that were put aside, or soon are."""
    with database_needed("flush of memory"):
        await in_database(flushes.prune)
        await migration.upload_due()
        await flush.carry_out_due(http=http_session())


@shared_task(base=CoroutineTask, queue=Queue.MAINTENANCE.value)
async def tend_access() -> None:
    """Ends codes and rules whose time is over, forgets what no limit needs, audits what was changed elsewhere."""
    with database_needed("look at what is over"):
        ends = (pairing.expire_due, pairing.forget_turned_away, rules.expire_due, limits.prune, roles.note_elsewhere)
        for end in ends:
            await in_database(end)
        await in_database(configuration.note, live.config())


@shared_task(base=CoroutineTask, queue=Queue.MAINTENANCE.value)
async def expire_media() -> None:
    """Lets go of the files whose time is over."""
    with database_needed("look at files that are over"):
        await expiry_of_media.expire_due()
