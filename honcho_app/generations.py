"""Generations of a key's Honcho session.

A session that was deleted on the server keeps its id for a while, and answers reads with what is to be forgotten until
the server's worker comes to it. So no id is used again: the key goes on with the next generation, and every process
notices before its next call.
"""

from __future__ import annotations

from django.db.models import F

from gateway_app.statements import execute, insert

from .models import MemoryGeneration

FIRST = 1


def generation(honcho_session_key: str) -> int:
    """The key's generation now."""
    found = MemoryGeneration.objects.filter(honcho_session_key=honcho_session_key).values_list("generation", flat=True)
    return next(iter(found), FIRST)


def begin_next(honcho_session_key: str) -> int:
    """Goes on with the key's next generation, and returns it. Must run in a transaction."""
    row = (honcho_session_key, FIRST)
    columns = ("honcho_session_key", "generation")
    execute(insert(MemoryGeneration, columns=columns, rows=[row], ignore_conflicts=True))
    MemoryGeneration.objects.filter(honcho_session_key=honcho_session_key).update(generation=F("generation") + 1)
    return generation(honcho_session_key)


def go_on_to(honcho_session_key: str, *, generation: int) -> None:
    """Goes on with this generation of the key's, unless somebody has gone further."""
    known = MemoryGeneration(honcho_session_key=honcho_session_key, generation=generation)
    MemoryGeneration.objects.bulk_create([known], ignore_conflicts=True)
    MemoryGeneration.objects.filter(honcho_session_key=honcho_session_key, generation__lt=generation).update(
        generation=generation
    )
