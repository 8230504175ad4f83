"""What every listener does with events: accepts them, then rings for them. Neither ever stops the listening."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import DataError, IntegrityError
from django.db import Error as DatabaseError

from gateway_app import doorbell, inbox
from gateway_app.inbox import Accepted
from gateway_app.platforms.base import InboundEvent, UnreadableEvent
from gateway_app.platforms.lease import LeaseLost, ListenerLease
from gateway_app.sessions.source import SessionContext
from gateway_app.worker.database import in_database

log = logging.getLogger(__name__)

MOST_RINGS = 10_000
"""Sessions, and chats, that wait to be rung for while the broker is slow; beyond it the sweep rings."""
PAUSE_SECONDS = 0.01
"""Between two rings, so that under load more sessions share a task."""


async def receive(
    events: Sequence[InboundEvent], *, unreadable: Sequence[UnreadableEvent] = (), lease: ListenerLease
) -> None:
    """Accepts a batch in one transaction and has its sessions rung; the platform may be acknowledged afterwards.

    An event that no transaction takes costs no other event: the batch is then accepted one by one, and that
    one is recorded as unreadable. Raises `django.db.Error` where the database is out of reach, and `LeaseLost`;
    then nothing may be acknowledged.
    """
    try:
        await _accept(events, unreadable, lease)
        return
    except LeaseLost:
        raise
    except Exception as error:
        if not _is_poison(error):
            raise
        log.warning("A batch of %d events was not taken (%s); taking them one by one.", len(events), _words(error))
    if unreadable:
        await _accept([], unreadable, lease)
    for event in events:
        try:
            await _accept([event], (), lease)
        except LeaseLost:
            raise
        except Exception as error:
            if not _is_poison(error):
                raise
            log.exception("%s event %s cannot be accepted.", event.source.platform, event.event_id)
            await _accept([], [_given_up(event, error)], lease)


def _is_poison(error: Exception) -> bool:
    """Whether it lies in an event; all other errors of a database pass when it is well again."""
    return isinstance(error, DataError | IntegrityError) or not isinstance(error, DatabaseError)


async def _accept(
    events: Sequence[InboundEvent], unreadable: Sequence[UnreadableEvent], lease: ListenerLease
) -> Accepted:
    accepted = await in_database(inbox.accept, events, unreadable=unreadable, assert_held=lease.assert_held)
    ringer.ring(accepted.rings, chats=accepted.chats)
    return accepted


def _given_up(event: InboundEvent, error: Exception) -> UnreadableEvent:
    source = event.source
    reason = f"it could not be accepted: {_words(error)}"
    return UnreadableEvent(event_id=event.event_id, platform=source.platform, account=source.account, reason=reason)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


class Ringer:
    """Rings from a thread of its own, so that nobody waits for the broker. A session that waits is rung for once."""

    def __init__(self) -> None:
        self._waiting: dict[str, SessionContext] = {}
        self._chats: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def ring(self, contexts: Iterable[SessionContext], *, chats: Iterable[str] = ()) -> None:
        """`chats` are delivery lanes. Returns at once; what comes within PAUSE_SECONDS of a ring shares the next.

        Must be called on the event loop.
        """
        for context in contexts:
            if len(self._waiting) < MOST_RINGS:
                self._waiting[context.session_key] = context
        for chat in chats:
            if len(self._chats) < MOST_RINGS:
                self._chats.add(chat)
        if (self._waiting or self._chats) and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._ring_all(), name="ringer")

    async def close(self, *, seconds: float) -> None:
        """Rings what waits, for so long at most; the sweep rings for the rest."""
        if self._task:
            await asyncio.wait([self._task], timeout=seconds)
            self._task.cancel()
        if self._thread:
            self._thread.shutdown(wait=False, cancel_futures=True)
        self._task = self._thread = None
        self._waiting.clear()
        self._chats.clear()

    async def _ring_all(self) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="ringer")
        while self._waiting or self._chats:
            contexts, self._waiting = list(self._waiting.values()), {}
            chats, self._chats = self._chats, set()
            await asyncio.get_running_loop().run_in_executor(self._thread, _ring, contexts, chats)
            await asyncio.sleep(PAUSE_SECONDS)


def _ring(contexts: list[SessionContext], chats: set[str]) -> None:
    if contexts:
        doorbell.ring(contexts)
    doorbell.ring_delivery(chats)


ringer = Ringer()
"""This process's ringer."""
