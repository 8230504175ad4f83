"""Full-text search in transcripts: FTS5 on SQLite, a GIN index on PostgreSQL (migration 0002)."""

from __future__ import annotations

import re

from django.db import connection

from gateway_app.models import TranscriptMessage

TABLE = TranscriptMessage._meta.db_table
MOST_WORDS = 32


def find(*, session_key: str | None = None, query: str, limit: int = 20) -> list[TranscriptMessage]:
    """Messages in which every word of `query` occurs, best first.

    `session_key` keeps it to one key's sessions and to what was not undone there: so much a model may see.
    """
    words = re.findall(r"\w+", query)[:MOST_WORDS]
    if not words:
        return []
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                f"SELECT m.id FROM {TABLE}_fts f JOIN {TABLE} m ON m.id = f.rowid"
                " JOIN gateway_app_session s ON s.id = m.session_id"
                f" WHERE {TABLE}_fts MATCH %s AND (%s OR s.session_key = %s AND m.undo_id IS NULL)"
                " ORDER BY rank, m.id DESC LIMIT %s",
                [" ".join(f'"{word}"' for word in words), session_key is None, session_key or "", limit],
            )
        else:
            cursor.execute(
                f"SELECT m.id FROM {TABLE} m JOIN gateway_app_session s ON s.id = m.session_id,"
                " plainto_tsquery('simple', %s) query"
                " WHERE to_tsvector('simple', m.content) @@ query AND (%s OR s.session_key = %s AND m.undo_id IS NULL)"
                " ORDER BY ts_rank(to_tsvector('simple', m.content), query) DESC, m.id DESC LIMIT %s",
                [" ".join(words), session_key is None, session_key or "", limit],
            )
        ids = [row[0] for row in cursor.fetchall()]
    found = TranscriptMessage.objects.select_related("session").in_bulk(ids)
    return [found[pk] for pk in ids]
