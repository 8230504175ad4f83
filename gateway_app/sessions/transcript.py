"""A session's transcript for people who read it, page by page; `history` is for the model."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_app.models import TranscriptMessage

PAGE = 50
"""Messages on a page."""


@dataclass(frozen=True, slots=True)
class Page:
    """Messages in their order. `older` and `newer` are what to pass on to `read()`; None where there are none."""

    messages: list[TranscriptMessage]
    older: int | None
    """For `before`."""
    newer: int | None
    """For `start`."""


def read(*, session_pk: int, before: int | None = None, start: int | None = None) -> Page:
    """The newest messages; with `before` the newest with a smaller id, with `start` the oldest from that id on."""
    rows = TranscriptMessage.objects.select_related("undo").filter(session_id=session_pk)
    if start is not None:
        found = list(rows.filter(id__gte=start).order_by("id")[: PAGE + 1])
        page, newer = found[:PAGE], found[PAGE].pk if len(found) > PAGE else None
        first = page[0].pk if page else start
        return Page(page, first if rows.filter(id__lt=first).exists() else None, newer)
    if before is not None:
        rows = rows.filter(id__lt=before)
    found = list(rows.order_by("-id")[: PAGE + 1])
    page = found[:PAGE][::-1]
    return Page(page, page[0].pk if len(found) > PAGE else None, before)
