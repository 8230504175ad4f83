"""The sessions of one key: those that its people may see and go back to. No function here looks at any other."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q, QuerySet

from gateway_app.models import Session, TranscriptMessage

PAGE = 10
"""Sessions in one answer: more than a screen of a phone nobody reads."""
MOST_DIGITS = 6
"""Digits of a number in the list; a longer one is a title."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A session and its number in the list, 1 for the newest."""

    number: int
    session: Session


def listing(*, session_key: str, page: int = 1) -> tuple[list[Listed], bool]:
    """A page of the key's sessions, newest first, and whether there are older ones."""
    first = (page - 1) * PAGE
    found = list(_worth_listing(session_key)[first : first + PAGE + 1])
    listed = [Listed(first + n, session) for n, session in enumerate(found[:PAGE], start=1)]
    return listed, len(found) > PAGE


def find(*, session_key: str, wanted: str) -> list[Session]:
    """The key's sessions that `wanted` means: a number of the list, an id, a title, or how just one title begins.

    More than one where several have that title, newest first.
    """
    if wanted.isascii() and wanted.isdigit() and len(wanted) <= MOST_DIGITS:
        number = int(wanted)
        return list(_worth_listing(session_key)[number - 1 : number]) if number else []
    if by_id := list(_of_key(session_key).filter(session_id=wanted)):
        return by_id
    rows = _worth_listing(session_key)
    return list(rows.filter(title__iexact=wanted)[:PAGE]) or list(rows.filter(title__istartswith=wanted)[:PAGE])


def _of_key(session_key: str) -> QuerySet[Session]:
    return Session.objects.filter(session_key=session_key).order_by("-id")


def _worth_listing(session_key: str) -> QuerySet[Session]:
    """The one that is open, and others in which there is something to go back to."""
    said = TranscriptMessage.objects.filter(session_id=OuterRef("pk"))
    return _of_key(session_key).filter(Q(ended_at=None) | Q(inherited__isnull=False) | Exists(said))
