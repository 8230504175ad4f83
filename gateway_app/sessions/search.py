"""Full-text search in transcripts: FTS5 on SQLite, a GIN index on PostgreSQL (migration 0002)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db import connection

from gateway_app.models import TranscriptMessage
from gateway_app.statements import Sql, Value

from .source import ChatType, SessionContext

TABLE = TranscriptMessage._meta.db_table
MOST_WORDS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The sessions that a search may look into: those of one key, and those that are one person's own."""

    session_key: str
    platform: str = ""
    account: str = ""
    user_id: str = ""
    """Empty: no others than the key's."""


def scope_of(context: SessionContext) -> Scope:
    """What may be found in the session of `context`.

    In a direct message that is all that the person has said anywhere in sessions of their own. In a group it is the
    session alone, since others read what the agent says.
    """
    if context.chat_type != ChatType.DM:
        return Scope(session_key=context.session_key)
    return Scope(
        session_key=context.session_key,
        platform=context.platform,
        account=context.account,
        user_id=context.user_id,
    )


def find(*, scope: Scope | None = None, query: str, limit: int = 20) -> list[TranscriptMessage]:
    """Messages in which every word of `query` occurs, best first, with their sessions.

    `scope` keeps it to its sessions and to what was not undone there: so much a model may see. Without one it is
    anybody's.
    """
    words = re.findall(r"\w+", query)[:MOST_WORDS]
    if not words:
        return []
    where = _where(scope)
    values: list[Value]
    if connection.vendor == "sqlite":
        sql = (
            f"SELECT m.id FROM {TABLE}_fts f JOIN {TABLE} m ON m.id = f.rowid"
            " JOIN gateway_app_session s ON s.id = m.session_id"
            f" WHERE {TABLE}_fts MATCH %s AND {where.sql} ORDER BY rank, m.id DESC LIMIT %s"
        )
        values = [" ".join(f'"{word}"' for word in words), *where.values, limit]
    else:
        sql = (
            f"SELECT m.id FROM {TABLE} m JOIN gateway_app_session s ON s.id = m.session_id,"
            " plainto_tsquery('simple', %s) query"
            f" WHERE to_tsvector('simple', m.content) @@ query AND {where.sql}"
            " ORDER BY ts_rank(to_tsvector('simple', m.content), query) DESC, m.id DESC LIMIT %s"
        )
        values = [" ".join(words), *where.values, limit]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        ids = [row[0] for row in cursor.fetchall()]
    found = TranscriptMessage.objects.select_related("session").in_bulk(ids)
    return [found[pk] for pk in ids]


def _where(scope: Scope | None) -> Sql:
    if scope is None:
        return Sql("TRUE")
    if not scope.user_id:
        return Sql("s.session_key = %s AND m.undo_id IS NULL", [scope.session_key])
    # A session that several people share has no user id, and so is nobody's own.
    return Sql(
        "(s.session_key = %s OR (s.user_id = %s AND s.platform = %s AND s.account = %s)) AND m.undo_id IS NULL",
        [scope.session_key, scope.user_id, scope.platform, scope.account],
    )
