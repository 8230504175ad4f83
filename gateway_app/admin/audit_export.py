"""The audit as a file: CSV for spreadsheets, JSON for programs, written while it is read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from gateway_app.access import audit
from gateway_app.models import AuditEntry

MOST_ROWS = 100_000
"""Rows of one file: about 100 MB and a minute. Who wants more takes them span by span."""
CHUNK = 1_000
"""Rows that are read, and sent, at a time."""
FIELDS = (*audit.HASHED, "hash")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins so is run by spreadsheets; what strangers call themselves gets into the audit."""


def response(request: HttpRequest, rows: QuerySet[AuditEntry], *, form: str) -> StreamingHttpResponse:
    """The rows, oldest first, as a download; `form` is one of `FORMS`."""
    pieces = FORMS[form](rows)
    # On the event loop each piece is made in a thread, so that nobody waits for the whole file.
    content = _in_threads(pieces) if isinstance(request, ASGIRequest) else pieces
    name = f"audit-{timezone.now():%Y%m%d-%H%M%S}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(content, content_type=TYPES[form], headers=headers)


def as_csv(rows: QuerySet[AuditEntry]) -> Iterator[str]:
    yield _lines([FIELDS])
    for chunk in _chunks(rows):
        yield _lines([_cell(value) for value in _values(entry).values()] for entry in chunk)


def as_json(rows: QuerySet[AuditEntry]) -> Iterator[str]:
    between = "[\n"
    for chunk in _chunks(rows):
        yield between + ",\n".join(json.dumps(_values(entry), ensure_ascii=False) for entry in chunk)
        between = ",\n"
    yield "[]\n" if between == "[\n" else "\n]\n"


FORMS: dict[str, Callable[[QuerySet[AuditEntry]], Iterator[str]]] = {"csv": as_csv, "json": as_json}
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def _chunks(rows: QuerySet[AuditEntry]) -> Iterator[list[AuditEntry]]:
    """In order, each chunk by a query of its own: none stays open while the browser is slow."""
    rows, last, left = rows.order_by("pk"), 0, MOST_ROWS
    while left > 0:
        chunk = list(rows.filter(pk__gt=last)[: min(CHUNK, left)])
        if not chunk:
            return
        yield chunk
        last, left = chunk[-1].pk, left - len(chunk)


def _values(entry: AuditEntry) -> dict[str, Any]:
    return {**audit.as_json(entry), "hash": entry.hash}


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(FORMULA) else text


def _lines(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


async def _in_threads(pieces: Iterator[str]) -> AsyncIterator[str]:
    def following() -> str | None:
        return next(pieces, None)

    while (piece := await sync_to_async(following)()) is not None:
        yield piece
