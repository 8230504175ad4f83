"""Writes to Honcho what waits on its lanes: batch by batch and in order, one worker at a time for each key.

Honcho has no idempotency. So a request whose outcome is unknown, as it timed out, broke off, or was made by a worker
that died, is not simply repeated: once it cannot be under way any more, Honcho is asked which of the messages it has.
"""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

from gateway_app import metrics
from gateway_app.config import live as gateway
from gateway_app.lanes import Claim, LaneLost
from gateway_app.worker.database import in_database, record_in_database
from gateway_app.worker.leases import keeper

from . import client, generations, opening, posting, waits, writes
from .errors import HonchoError, HonchoErrorKind
from .pause import pause
from .posting import Place
from .writes import Batch

log = logging.getLogger(__name__)

MOST_DELETED = 6
"""Generations of a key's session that may all be deleted; a wrong address answers the same to each."""
MOST_LANES = 50
"""That one task works off. It ends then, so that a worker that stops is not kept from it."""


async def write_lane(*, key: str) -> None:
    """Writes what is due in the lane of a Honcho session key, and then in other lanes that no worker is at.

    Nothing while this process does enough of that: it takes up the lane once it is done with another.
    """
    slots = _slots()
    if slots.locked() or pause.is_on:
        return
    async with slots:
        due: str | None = key
        for _ in range(MOST_LANES):
            if due is None or pause.is_on:
                return
            await drain(key=due)
            due = await in_database(writes.next_due)


async def drain(*, key: str) -> None:
    """Writes what is due in the lane of a Honcho session key; nothing where another worker is at it.

    What Honcho does not take now waits for its next attempt. Raises only `django.db.Error`, and that before it begins.
    """
    if pause.is_on:
        return
    claim, batch = await in_database(writes.claim_and_take, key=key)
    if claim is None or batch is None:
        return
    try:
        async with keeper.keeping(claim):
            most = writes.MOST
            while batch and claim.is_trusted():
                batch, most = await _settle(claim, batch, most=most)
    except LaneLost:
        metrics.LANES_LOST.inc()
        log.warning("Lost the Honcho lane %s while writing; another worker goes on with it.", claim.key)
    except Exception:
        log.exception("Honcho lane %s was left; it is taken up again when its lease ends.", claim.key)


async def _settle(claim: Claim, batch: Batch, *, most: int) -> tuple[Batch | None, int]:
    """One request about the batch, its record, and the next batch, with how many messages it has at the most."""
    try:
        ids = await (_look_up(batch) if batch.is_doubtful else _write(claim, batch))
    except HonchoError as error:
        return await _fail(claim, batch, error, most=most)
    pause.end()
    if batch.is_doubtful:
        metrics.HONCHO_WRITES.labels(outcome="found").inc(len(ids))
        metrics.HONCHO_WRITES.labels(outcome="not_found").inc(len(batch.rows) - len(ids))
    else:
        metrics.HONCHO_WRITES.labels(outcome="sent").inc(len(ids))
        most = min(most * 2, writes.MOST)
    return await record_in_database(writes.record_sent, claim, batch, ids=ids, most=most), most


async def _write(claim: Claim, batch: Batch) -> dict[int, str]:
    """Sends the batch; returns Honcho's ids by the rows'. Where the session was deleted, to the next one of the key."""
    place = posting.place_of(batch, generation=batch.generation)
    try:
        await _join(place, batch)
        return await _post(claim, place, batch)
    except HonchoError as error:
        if error.kind is not HonchoErrorKind.NOT_FOUND:
            raise
    opening.forget_opened()
    generation = await _next_generation(batch)
    return await _post(claim, posting.place_of(batch, generation=generation), batch)


async def _next_generation(batch: Batch) -> int:
    """Goes on to the key's next session that can be made; raises `HonchoError` where none can.

    Not before it was made: a wrong address, too, answers that nothing is there.
    """
    for generation in range(batch.generation + 1, batch.generation + MOST_DELETED):
        try:
            await _join(posting.place_of(batch, generation=generation), batch)
        except HonchoError as error:
            if error.kind is not HonchoErrorKind.NOT_FOUND:
                raise
            continue
        log.warning("The Honcho session of %s was deleted; it goes on as its generation %s.", batch.key, generation)
        await in_database(generations.go_on_to, batch.key, generation=generation)
        return generation
    raise HonchoError(HonchoErrorKind.NOT_FOUND, status=404)


async def _join(place: Place, batch: Batch) -> None:
    """Makes the session where need be. However this ends, nothing of the batch was sent."""
    try:
        await client.run_writing(posting.join, place, batch.peers)
    except HonchoError as error:
        if error.kind is HonchoErrorKind.REJECTED:
            # As where a group has more members that observe others than Honcho takes. Their messages make them members.
            log.warning("Honcho rejected members of the session of %s: %s", batch.key, error)
            return
        error.is_outcome_unknown = False
        raise


async def _post(claim: Claim, place: Place, batch: Batch) -> dict[int, str]:
    with metrics.HONCHO_WRITE_SECONDS.time():
        return await client.run_writing(posting.post, place, batch, is_ours=claim.is_trusted)


async def _look_up(batch: Batch) -> dict[int, str]:
    """Honcho's ids of those of the batch that it has."""
    try:
        return await client.run_writing(posting.find, posting.place_of(batch, generation=batch.generation), batch)
    except HonchoError as error:
        if error.kind is HonchoErrorKind.NOT_FOUND:
            return {}
        raise


async def _fail(claim: Claim, batch: Batch, error: HonchoError, *, most: int) -> tuple[Batch | None, int]:
    """Records that a request failed; see `_settle()`."""
    is_unknown = batch.is_doubtful or error.is_outcome_unknown
    if error.kind is HonchoErrorKind.REJECTED and not is_unknown:
        log.warning("Honcho rejected %s of %s: %s", _messages(batch), batch.key, error)
        return await record_in_database(writes.record_rejected, claim, batch, error=str(error))
    if _is_general(error):
        wait = pause.begin(retry_after=error.retry_after)
    else:
        wait = waits.before(attempt=batch.rows[0].attempts + 1, retry_after=error.retry_after)
    if error.is_outcome_unknown and not batch.is_doubtful:
        wait = max(wait, waits.until_settled())
    metrics.HONCHO_WRITES.labels(outcome="unknown" if error.is_outcome_unknown else "failed").inc(len(batch.rows))
    log.warning("%s of %s wait %.1f s to be written: %s", _messages(batch), batch.key, wait, error)
    following = await record_in_database(
        writes.record_failed, claim, batch, error=str(error), wait=wait, is_unknown=is_unknown
    )
    return following, most


def _is_general(error: HonchoError) -> bool:
    """Whether it says something of the server, and not of this session or request alone."""
    if error.kind in (HonchoErrorKind.UNAUTHORIZED, HonchoErrorKind.LIMITED):
        return True
    return error.kind in (HonchoErrorKind.UNAVAILABLE, HonchoErrorKind.TIMEOUT) and not error.is_outcome_unknown


def _messages(batch: Batch) -> str:
    return f"{len(batch.rows)} message{'' if len(batch.rows) == 1 else 's'}"


def _slots() -> asyncio.Semaphore:
    """The running loop's places for tasks that write. One thread is left for what the agent writes by its tools."""
    loop = asyncio.get_running_loop()
    if loop not in _slots_by_loop:
        _slots_by_loop[loop] = asyncio.Semaphore(max(gateway.config().honcho.write_threads - 1, 1))
    return _slots_by_loop[loop]


_slots_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
