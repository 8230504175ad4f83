"""Takes the newest exchanges of a session out of the model's view, and puts them back. Nothing is deleted.

An exchange is a message of a person and all that followed it, also what joined its turn meanwhile. Every function must
run in a transaction that holds the session's lane.
"""

from __future__ import annotations

from django.db.models import Max, Min
from django.db.models.functions import Now

from gateway_app.models import Session, TranscriptMessage, Undo
from gateway_app.models.session import UndoKind

from . import compression, lineage

MOST = 1000
"""Exchanges that are undone at once; who wants more gone begins a new session."""


def undo(*, session: Session, exchanges: int, kind: UndoKind, user_id: str, user_name: str) -> TranscriptMessage | None:
    """Takes so many exchanges, or as many as there are; returns the first message of them, None where there is none."""
    questions = lineage.newest_questions(session, limit=min(exchanges, MOST))
    if not questions:
        return None
    first = questions[-1]
    compression.forget(session_pk=session.pk, first_message=first.pk)
    own = TranscriptMessage.objects.filter(session=session)
    row = Undo.objects.create(
        session=session,
        kind=kind,
        user_id=user_id,
        user_name=user_name,
        exchanges=len(questions),
        last_message=own.aggregate(found=Max("id"))["found"] or 0,
    )
    if first.session_id == session.pk:
        own.filter(undo=None, id__gte=first.pk).update(undo=row)
        return first
    # It reaches into what the branch starts from, which is another session's, and stays as it is there.
    own.filter(undo=None).update(undo=row)
    row.inherited = session.inherited
    row.save(update_fields=["inherited"])
    parts = lineage.read(session.inherited)
    place = next(n for n, part in enumerate(parts) if part.session_pk == first.session_id)
    shortened = [parts[place]._replace(last_message=first.pk - 1), *parts[place + 1 :]]
    Session.objects.filter(pk=session.pk).update(inherited=lineage.written(shortened))
    return first


def redo(*, session: Session) -> Undo | None:
    """Puts back what was undone last; None where nothing was, or something was said since."""
    row = Undo.objects.filter(session=session, redone_at=None).order_by("-id").first()
    if row is None or TranscriptMessage.objects.filter(session=session, undo=None, id__gt=row.last_message).exists():
        return None
    compression.forget(session_pk=session.pk, first_message=_first(session, row))
    TranscriptMessage.objects.filter(undo=row).update(undo=None)
    if row.inherited is not None:
        Session.objects.filter(pk=session.pk).update(inherited=row.inherited)
    Undo.objects.filter(pk=row.pk).update(redone_at=Now())
    return row


def _first(session: Session, undone: Undo) -> int:
    """The place of the first message that comes back with `undone`."""
    if undone.inherited is not None:  # which reached into what the branch starts from, and left it these
        return max((part.last_message for part in lineage.read(session.inherited)), default=0) + 1
    return TranscriptMessage.objects.filter(undo=undone).aggregate(found=Min("id"))["found"] or 0
