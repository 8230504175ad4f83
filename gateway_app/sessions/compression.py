"""Keeps how a session's older messages are given to the model: one attempt at a time, by its own lease and fence.

It is no business of the session's lane, so that nobody waits for a summary: a turn that begins meanwhile has the
history of before. Whatever changes which messages the model sees calls `forget()`, which makes an attempt that is under
way void.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from gateway_app import clock
from gateway_app.models import Compression, Session
from gateway_app.statements import Statement, execute

from . import history, lineage
from .history import Compressed, Message
from .lineage import Part
from .overrides import Overrides

TABLE = Session._meta.db_table
MOST_READ = 3
"""As many times HISTORY_MAX_MESSAGES are summed up at once; only a session of before there were summaries has more."""
LONGEST_BEGINNING = 60
"""Messages at the beginning of a session among which those that stay as they are must be."""


class Attempt(NamedTuple):
    """The right to compress a session, until its lease ends or the fence is raised."""

    session_pk: int
    fence: int
    prompt: str
    """The session's system prompt."""
    inherited: tuple[Part, ...]
    """What the session starts from where it is a branch."""
    compressed: Compressed | None
    """How the older messages are given now."""
    overrides: Overrides = Overrides()
    """What the session's people chose to be different in it."""


@dataclass(frozen=True, slots=True)
class Written:
    """What an attempt came to: the new state, and what its summary cost."""

    head_until: int
    last_message: int
    pruned_until: int
    summary: str
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Material(NamedTuple):
    """What there is to be compressed, oldest first."""

    beginning: list[Message]
    """The session's first messages, where none of it was summed up so far."""
    newest: list[Message]
    """Those for which no summary stands, and the beginning that was kept."""


def compressed(row: Compression | None) -> Compressed | None:
    """`row` as the history takes it."""
    if row is None:
        return None
    return Compressed(row.pk, row.head_until, row.last_message, row.pruned_until, row.summary)


def current(*, session_pk: int) -> Compressed | None:
    """How the session's older messages are given now."""
    return compressed(Session.objects.select_related("compression").get(pk=session_pk).compression)


def begin(*, session_pk: int, seconds: float, is_asked: bool) -> tuple[Attempt, Material] | None:
    """Begins an attempt that takes so long at most; nothing where one is under way.

    Nothing also where one came to nothing a while ago, unless somebody asks for it.
    """
    now = clock.now()
    patience = "" if is_asked else f" AND (compression_not_before IS NULL OR compression_not_before <= {now})"
    with transaction.atomic():
        (begun,) = execute(
            Statement(
                f"UPDATE {TABLE} SET compression_fence = compression_fence + 1,"
                f" compression_lease_until = {clock.later()} WHERE id = %s"
                f" AND (compression_lease_until IS NULL OR compression_lease_until <= {now}){patience}"
                " RETURNING compression_fence, compression_id, prompt, inherited, overrides",
                [seconds, session_pk],
            )
        )
        if not begun:
            return None
        fence, compression_id, prompt, inherited, chosen = begun[0]
        row = Compression.objects.get(pk=compression_id) if compression_id else None
        overrides = Overrides.from_json(chosen)
        attempt = Attempt(session_pk, fence, prompt, lineage.read(inherited), compressed(row), overrides)
        return attempt, _material(attempt)


def _material(attempt: Attempt) -> Material:
    known = attempt.compressed
    most = MOST_READ * settings.HISTORY_MAX_MESSAGES
    pk, inherited = attempt.session_pk, attempt.inherited
    newest = history.reading(session_pk=pk, inherited=inherited, compressed=known, most=most)
    if known and known.summary:
        return Material([], history.messages(execute(newest)[0], compressed=known))
    first = history.beginning(session_pk=pk, inherited=inherited, most=LONGEST_BEGINNING)
    found, begun = execute(newest, first)
    return Material(history.messages(begun[::-1], compressed=known), history.messages(found, compressed=known))


def keep(attempt: Attempt, written: Written) -> bool:
    """Commits what an attempt came to, from the next turn on; false where the attempt is void by now."""
    with transaction.atomic():
        if not _own(attempt).update(compression_lease_until=None, compression_not_before=None):
            return False
        row = Compression.objects.create(
            session_id=attempt.session_pk,
            head_until=written.head_until,
            last_message=written.last_message,
            pruned_until=written.pruned_until,
            summary=written.summary,
            model=written.model,
            prompt_tokens=written.prompt_tokens,
            completion_tokens=written.completion_tokens,
        )
        return bool(_own(attempt).update(compression=row))


def give_up(attempt: Attempt, *, wait: float) -> None:
    """Ends an attempt that came to nothing; the next may begin by itself after `wait` seconds."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET compression_lease_until = NULL, compression_not_before = {clock.later()}"
            " WHERE id = %s AND compression_fence = %s",
            [wait, attempt.session_pk, attempt.fence],
        )


def forget(*, session_pk: int, first_message: int) -> None:
    """Lets no summary stand for `first_message` or a later one any more, for whoever takes messages out of the history.

    Must run in the transaction that does so. The newest that ends before them is in force again, of those that stand
    for nothing that was ever taken out; of another session's only the one that a branch has now.
    """
    # First, so that an attempt which is about to be kept is either there by now, or void.
    Session.objects.filter(pk=session_pk).update(
        compression_fence=F("compression_fence") + 1, compression_lease_until=None, compression_not_before=None
    )
    own = Compression.objects.filter(session_id=session_pk)
    own.filter(last_message__gte=first_message).update(is_void=True)
    present = Session.objects.filter(pk=session_pk).values("compression_id")
    usable = Compression.objects.filter(Q(session_id=session_pk, is_void=False) | Q(pk__in=present))
    newest = usable.filter(last_message__lt=first_message).order_by("-id").values_list("pk", flat=True).first()
    Session.objects.filter(pk=session_pk).update(compression=newest)


def _own(attempt: Attempt) -> QuerySet[Session]:
    return Session.objects.filter(pk=attempt.session_pk, compression_fence=attempt.fence)
