"""Notes that outlive a session: each belongs to one person, or to one session key, and to nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models.functions import Now

from gateway_app.models import MemoryNote
from gateway_app.models.memory import LONGEST_NOTE, MOST_NOTES, MemoryScope
from gateway_app.sessions.key import escape
from gateway_app.sessions.source import ChatType, SessionContext
from gateway_app.statements import execute, insert

from .tool_error import ToolError

TRIES = 5
"""Places that are tried where other turns of the same person take them at the same moment."""


class Owner(NamedTuple):
    """Whose notes they are."""

    scope: MemoryScope
    key: str


class Note(NamedTuple):
    """A note, by its number among its owner's."""

    number: int
    text: str


def owner(context: SessionContext, *, scope: MemoryScope | None) -> Owner:
    """Who owns the notes that a call in `context` may see. Without a scope it is the widest one there is here.

    A person's notes are for their direct messages alone: in a group others read what the agent says. Raises
    `ToolError` where there is no such scope.
    """
    has_person = context.chat_type == ChatType.DM and bool(context.user_id)
    if scope is MemoryScope.USER and not has_person:
        raise ToolError("Here there are only this conversation's notes (scope session): others read along.")
    if scope is MemoryScope.SESSION or not has_person:
        return Owner(MemoryScope.SESSION, context.session_key)
    name = person(platform=context.platform, account=context.account, user_id=context.user_id)
    return Owner(MemoryScope.USER, name)


def person(*, platform: str, account: str, user_id: str) -> str:
    """The owner of a person's notes, by their ids."""
    return ":".join(escape(part) for part in (platform, account, user_id))


def notes(whose: Owner) -> list[Note]:
    """The owner's notes by number."""
    found = MemoryNote.objects.filter(scope=whose.scope, owner=whose.key).order_by("place")
    return [Note(*row) for row in found.values_list("place", "text")]


def add(whose: Owner, *, text: str) -> Note:
    """Notes something down in the first free place; a note that is there already stays as it is.

    Must run in a transaction. Raises `ToolError` where all places are taken.
    """
    text = cleaned(text)
    for _ in range(TRIES):
        known = notes(whose)
        if same := next((note for note in known if note.text == text), None):
            return same
        place = _free_place(known)
        written, *_ = execute(
            insert(
                MemoryNote,
                columns=("scope", "owner", "place", "text"),
                rows=[(whose.scope.value, whose.key, place, text)],
                returning=("place",),
                ignore_conflicts=True,
            )
        )
        if written:
            return Note(place, text)
    raise ToolError("Others are writing notes at the same moment; try again.")


def replace(whose: Owner, *, number: int, text: str) -> Note:
    """Rewrites a note. Raises `ToolError` where there is none of that number."""
    text = cleaned(text)
    found = MemoryNote.objects.filter(scope=whose.scope, owner=whose.key, place=number)
    if not found.update(text=text, updated_at=Now()):
        raise _no_note(number)
    return Note(number, text)


def remove(whose: Owner, *, number: int) -> None:
    """Forgets a note. Raises `ToolError` where there is none of that number."""
    deleted, _ = MemoryNote.objects.filter(scope=whose.scope, owner=whose.key, place=number).delete()
    if not deleted:
        raise _no_note(number)


def cleaned(text: str) -> str:
    """`text` on one line. Raises `ToolError` for none, and for one that is too long."""
    text = " ".join(text.split())
    if not text:
        raise ToolError("text is empty.")
    if len(text) > LONGEST_NOTE:
        raise ToolError(f"text has {len(text):,} characters; allowed: {LONGEST_NOTE}.")
    return text


def _free_place(known: Sequence[Note]) -> int:
    taken = {note.number for note in known}
    place = next((number for number in range(1, MOST_NOTES + 1) if number not in taken), None)
    if place is None:
        raise ToolError(f"All {MOST_NOTES} places are taken; remove or replace a note first.")
    return place


def _no_note(number: int) -> ToolError:
    return ToolError(f"There is no note {number}; list shows those that there are.")
