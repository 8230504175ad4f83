"""Flushes of memory as rows: which is due, who carries it out, and what came of it.

As with a summary, it is no business of the session's lane, so that nobody waits for it: each flush has a lease and a
fence of its own. One of a Honcho session key is under way at a time, over the whole fleet. It is carried out in two
parts, of which the first is never done again once it has committed: the agent saves what is worth remembering
(`save()`), and then what waits to be written is sent (`finish()`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from django.db import IntegrityError, connection, transaction
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from gateway_app import clock, metrics
from gateway_app.agent import memory
from gateway_app.agent.memory import Note, Owner
from gateway_app.agent.usage import Usage
from gateway_app.config import live
from gateway_app.lanes import LaneLost
from gateway_app.models import FlushStep, MemoryFlush, Session, TranscriptMessage
from gateway_app.models.flush import FlushOutcome, FlushReason, FlushState
from gateway_app.models.memory import MemoryScope
from gateway_app.models.turn import StepKind
from gateway_app.statements import Statement, execute, insert
from gateway_app.turns.journal import Step

from . import compression, history, lineage, tokens
from .history import History, Message
from .overrides import Overrides
from .source import SessionContext

T = TypeVar("T")

TABLE = MemoryFlush._meta.db_table
UNDER_WAY = (FlushState.RUNNING, FlushState.RETRYING)
CANDIDATES = 20
"""Flushes that are tried where other workers claim them at the same moment."""
LONGEST_ERROR = 500
"""Characters of an error that are kept."""
PRUNED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """The right to carry out a flush, until its lease ends or the fence is raised."""

    flush_id: int
    fence: int
    attempts: int
    session_pk: int
    honcho_session_key: str
    is_saved: bool
    """The agent's part is done."""


def claim_next(*, seconds: float) -> Attempt | None:
    """Claims the next flush that is due, for so long; nothing where none is.

    One that was begun too often without coming to an end is given up.
    """
    for found in _due():
        for flush_id in found.order_by("pk").values_list("pk", flat=True)[:CANDIDATES]:
            attempt = _claim(flush_id, seconds=seconds)
            if attempt and attempt.attempts > live.config().memory.flush_attempts and not attempt.is_saved:
                _end(attempt, state=FlushState.FAILED, error="given up: each worker that began it died")
            elif attempt:
                return attempt
    return None


def _due() -> Iterator[QuerySet[MemoryFlush]]:
    """What may be claimed; first what was begun before, so that the next of its key can be."""
    open_ones = MemoryFlush.objects.exclude(state=FlushState.DONE)  # the condition of the index, which SQLite needs
    yield open_ones.filter(state=FlushState.RUNNING, lease_until__lte=Now())
    yield open_ones.filter(state=FlushState.RETRYING, next_attempt_at__lte=Now())
    under_way = MemoryFlush.objects.filter(honcho_session_key=OuterRef("honcho_session_key"), state__in=UNDER_WAY)
    yield open_ones.filter(~Exists(under_way), state=FlushState.WAITING)


def _claim(flush_id: int, *, seconds: float) -> Attempt | None:
    now = clock.now()
    claiming = Statement(
        f"UPDATE {TABLE} SET state = 'running', fence = fence + 1, attempts = attempts + 1, next_attempt_at = NULL,"
        f" lease_until = {clock.later()} WHERE id = %s AND (state = 'waiting'"
        f" OR (state = 'retrying' AND next_attempt_at <= {now}) OR (state = 'running' AND lease_until <= {now}))"
        " RETURNING id, fence, attempts, session_id, honcho_session_key, outcome <> ''",
        [seconds, flush_id],
    )
    try:
        with transaction.atomic():
            (won,) = execute(claiming)
    except IntegrityError:  # another of its key was begun at this moment
        return None
    if not won:
        return None
    flush_id, fence, attempts, session_pk, key, is_saved = won[0]
    return Attempt(flush_id, fence, attempts, session_pk, key, bool(is_saved))


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What an attempt goes through."""

    context: SessionContext
    """The session's own, though it has ended: whose tools see what follows from it."""
    prompt: str
    """The session's system prompt."""
    overrides: Overrides
    count: int
    """Messages of the session itself, and not of one that it branched off."""
    last_message: int
    """The newest of them; 0 where there is none."""
    flushed_until: int
    history: History
    """What was said since, as much of it as fits."""
    notes: list[tuple[str, list[Note]]]
    """What the agent has noted down before, by scope."""
    steps: list[Step]
    """The journal of earlier attempts."""


def begin(attempt: Attempt, *, room: int, seconds: float) -> Material:
    """Reads what the attempt goes through, `room` tokens of it at most, and notes how far it goes. Raises `LaneLost`.

    Where a part of the session was flushed before only what came after it is read.
    """
    with transaction.atomic():
        hold(attempt, seconds=seconds)
        session = Session.objects.select_related("compression").get(pk=attempt.session_pk)
        own = TranscriptMessage.objects.filter(session=session, undo=None)
        count, newest = own.aggregate(count=Count("pk"), newest=Max("pk")).values()
        _own(attempt).update(last_message=newest or 0)
        context = _context(session, attempt)
        notes = [(whose.scope.label, found) for whose in _owners(context) if (found := memory.notes(whose))]
        noted = sum(tokens.estimate(note.text) for _, found in notes for note in found)
        return Material(
            context=context,
            prompt=session.prompt,
            overrides=Overrides.from_json(session.overrides),
            count=count,
            last_message=newest or 0,
            flushed_until=session.flushed_until,
            history=_history(session, room=room - tokens.estimate(session.prompt) - noted),
            notes=notes,
            steps=journal(attempt),
        )


def context_of(attempt: Attempt) -> SessionContext:
    """The context of the session that is flushed."""
    return _context(Session.objects.get(pk=attempt.session_pk), attempt)


def ended_session(attempt: Attempt) -> str:
    """The id of the session that is flushed; empty where it is open, as one that is flushed ahead of the clock."""
    found = Session.objects.filter(pk=attempt.session_pk, ended_at__isnull=False).values_list("session_id", flat=True)
    return next(iter(found), "")


def _context(session: Session, attempt: Attempt) -> SessionContext:
    return SessionContext(
        session_key=session.session_key,
        session_id=session.session_id,
        honcho_session_key=attempt.honcho_session_key,
        platform=session.platform,
        account=session.account,
        chat_id=session.chat_id,
        chat_type=session.chat_type,
        thread_id=session.thread_id,
        user_id=session.user_id,
        user_name=session.user_name,
    )


def _owners(context: SessionContext) -> list[Owner]:
    widest = memory.owner(context, scope=None)
    return list(dict.fromkeys([widest, memory.owner(context, scope=MemoryScope.SESSION)]))


def _history(session: Session, *, room: int) -> History:
    """What people and the agent said, without the calls of tools and their results."""
    if session.flushed_until:
        found = history.messages(execute(history.reading(session_pk=session.pk))[0], compressed=None)
        kept = [message for message in found if message.pk > session.flushed_until]
        return history.fitting(spoken(kept), budget=room)
    compressed = compression.compressed(session.compression)
    reading = history.reading(session_pk=session.pk, inherited=lineage.read(session.inherited), compressed=compressed)
    found = history.messages(execute(reading)[0], compressed=compressed)
    return history.fitting(spoken(found), budget=room, compressed=compressed)


def spoken(found: Iterable[Message]) -> list[Message]:
    """The words of people and of the agent; what one of them said in a row is one message, as some models want it."""
    said: list[Message] = []
    for each in found:
        if each.role == "tool" or not each.content.strip():
            continue
        if said and said[-1].role == each.role:
            last = said.pop()
            each = each._replace(content=f"{last.content}\n\n{each.content}", tokens=last.tokens + each.tokens)
        said.append(each._replace(tool_calls=None))
    return said


def hold(attempt: Attempt, *, seconds: float) -> None:
    """Asserts the fence, locks the row until the transaction ends, and renews the lease. Raises `LaneLost`."""
    (held,) = execute(
        Statement(
            f"UPDATE {TABLE} SET lease_until = {clock.later()} WHERE id = %s AND fence = %s AND state = 'running'"
            " RETURNING id",
            [seconds, attempt.flush_id, attempt.fence],
        )
    )
    if not held:
        raise LaneLost(f"flush {attempt.flush_id} was claimed by another worker")


def record(attempt: Attempt, *, first: int, steps: Sequence[Step], seconds: float) -> None:
    """Adds steps to the flush's journal, with positions from `first` on. Raises `LaneLost`."""
    rows = [(attempt.flush_id, first + n, step.kind.value, json.dumps(step.payload)) for n, step in enumerate(steps)]
    with transaction.atomic():
        hold(attempt, seconds=seconds)
        execute(insert(FlushStep, columns=("flush_id", "position", "kind", "payload"), rows=rows))


def commit(attempt: Attempt, function: Callable[[], T], *, seconds: float) -> T:
    """Runs what a tool changes in a fenced transaction of its own, and returns its result. Raises `LaneLost`."""
    with transaction.atomic():
        hold(attempt, seconds=seconds)
        return function()


def journal(attempt: Attempt) -> list[Step]:
    """The steps so far, in order."""
    found = FlushStep.objects.filter(flush_id=attempt.flush_id).order_by("position").values_list("kind", "payload")
    return [Step(StepKind(kind), payload) for kind, payload in found]


def save(attempt: Attempt, *, outcome: FlushOutcome, last_message: int, usage: Usage, seconds: float) -> None:
    """Commits what the agent's part came to: the session is flushed up to `last_message`. Raises `LaneLost`."""
    with transaction.atomic():
        hold(attempt, seconds=seconds)
        _own(attempt).update(
            outcome=outcome,
            last_message=last_message,
            model=usage.model[:128],
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            error="",
        )
        FlushStep.objects.filter(flush_id=attempt.flush_id).delete()
        if outcome in (FlushOutcome.SAVED, FlushOutcome.NOTHING_NEW):
            behind = Session.objects.filter(pk=attempt.session_pk, flushed_until__lt=last_message)
            behind.update(flushed_until=last_message)


def finish(attempt: Attempt, *, note: str = "") -> None:
    """Ends a flush that is done; nothing where another worker has it by now."""
    _end(attempt, state=FlushState.DONE, error=note)


def fail(attempt: Attempt, *, error: str) -> None:
    """Ends an attempt that failed: the next one comes after a while, unless it was the last."""
    config = live.config().memory
    if attempt.attempts >= config.flush_attempts:
        _end(attempt, state=FlushState.FAILED, error=error)
        return
    wait = config.flush_backoff_seconds * 2 ** (attempt.attempts - 1)
    _put_back(attempt, wait=wait, attempts=attempt.attempts, error=error[:LONGEST_ERROR])
    metrics.FLUSHES.labels(outcome="retried").inc()


def hand_back(attempt: Attempt) -> None:
    """Gives an unfinished flush back, to be claimed at once; it costs it no attempt."""
    _put_back(attempt, wait=0.0, attempts=attempt.attempts - 1, error="")


def _put_back(attempt: Attempt, *, wait: float, attempts: int, error: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET state = 'retrying', lease_until = NULL, next_attempt_at = {clock.later()},"
            " attempts = %s, error = %s WHERE id = %s AND fence = %s AND state = 'running'",
            [wait, attempts, error, attempt.flush_id, attempt.fence],
        )


def _end(attempt: Attempt, *, state: FlushState, error: str) -> None:
    changed = _own(attempt).update(state=state, error=error[:LONGEST_ERROR], lease_until=None, finished_at=Now())
    if changed:
        outcome = MemoryFlush.objects.values_list("outcome", flat=True).get(pk=attempt.flush_id)
        metrics.FLUSHES.labels(outcome=outcome if state is FlushState.DONE else state.value).inc()


def _own(attempt: Attempt) -> QuerySet[MemoryFlush]:
    return MemoryFlush.objects.filter(pk=attempt.flush_id, fence=attempt.fence, state=FlushState.RUNNING)


def ask_ahead(*, session_pk: int, honcho_session_key: str) -> None:
    """Has a session flushed that is still open; nothing where a flush of it waits, which covers that one."""
    row = MemoryFlush(session_id=session_pk, honcho_session_key=honcho_session_key, reason=FlushReason.SOON)
    MemoryFlush.objects.bulk_create([row], ignore_conflicts=True)


def covering(newest: OuterRef) -> Q:
    """The flushes of a session that cover its message `newest`, or that one which is open will."""
    open_ones = [FlushState.WAITING, *UNDER_WAY]
    return Q(state__in=open_ones) | Q(last_message__gte=newest)


def retry(*, ids: Iterable[int]) -> list[int]:
    """Has flushes that were given up carried out after all, with all attempts ahead of them.

    Those of sessions that have another one waiting are passed over: it covers them. Returns the ids of the others.
    """
    retried = []
    for flush_id in sorted(set(ids)):
        failed = MemoryFlush.objects.filter(pk=flush_id, state=FlushState.FAILED)
        try:
            with transaction.atomic():
                changed = failed.update(state=FlushState.WAITING, attempts=0, finished_at=None, error="")
        except IntegrityError:
            continue
        retried += [flush_id] * changed
    return retried


def prune() -> int:
    """Deletes flushes that were done `memory.flush_keep_days` ago, some at a time; returns how many."""
    days = live.config().memory.flush_keep_days
    done = MemoryFlush.objects.filter(state=FlushState.DONE, finished_at__lt=Now() - timedelta(days=days))
    ids = list(done.order_by("finished_at").values_list("pk", flat=True)[:PRUNED_AT_ONCE])
    deleted, _ = MemoryFlush.objects.filter(pk__in=ids).delete()
    return deleted
