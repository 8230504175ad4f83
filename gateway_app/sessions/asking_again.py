"""Has a session's last question answered once more: the answer that it got is undone, and the question is put again."""

from __future__ import annotations

from django.db.models.functions import Coalesce

from gateway_app.models import InboundMessage, Session
from gateway_app.models.inbox import InboundState
from gateway_app.models.session import UndoKind

from . import lineage, undoing
from .source import SessionSource

NOTHING = "Nothing has been asked in this conversation yet."
NOT_YOURS = "The last question here is somebody else's, and only they can have it asked again."
GONE = "I do not have that message any more. Please send it again."


def ask_again(*, session: Session, turn_id: int, source: SessionSource) -> str:
    """Puts the last question where the command stands, the message of turn `turn_id`; nothing comes in between.

    Returns why not, and empty where it was done. Whoever wrote `source` can only have their own question asked again,
    since it is asked as theirs. Must run in a transaction that holds the session's lane.
    """
    questions = lineage.newest_questions(session, limit=1)
    if not questions:
        return NOTHING
    asked = InboundMessage.objects.filter(turn__transcript=questions[0]).order_by("seq")
    rows = list(asked.values_list("source", Coalesce("asks", "text"), "attachments"))
    if not rows:
        return GONE
    if any(SessionSource.from_json(origin).participant != source.participant for origin, *_ in rows):
        return NOT_YOURS
    undoing.undo(
        session=session,
        exchanges=1,
        kind=UndoKind.RETRY,
        user_id=source.user_id,
        user_name=source.user_name,
    )
    text = "\n\n".join(text for _, text, _ in rows)
    files = [file for *_, attachments in rows for file in attachments or ()]
    InboundMessage.objects.filter(turn_id=turn_id).update(
        asks=text, attachments=files or None, state=InboundState.WAITING, turn=None
    )
    return ""
