"""Finds the open session of a key, or opens one."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from gateway_app import clock
from gateway_app.models import Compression, Session, TranscriptMessage
from gateway_app.statements import Row, Statement, execute, insert

from . import lineage
from .history import Compressed
from .key import is_shared, session_key
from .lineage import Part
from .overrides import Overrides
from .source import SessionContext, SessionSource

TABLE = Session._meta.db_table
COMPRESSION = Compression._meta.db_table
TRANSCRIPT = TranscriptMessage._meta.db_table
NOTHING_CHOSEN = Overrides()


def new_session_id() -> str:
    """`YYYYMMDD_HHMMSS_<8 hex>`, in UTC."""
    return f"{timezone.now():%Y%m%d_%H%M%S}_{secrets.token_hex(4)}"


class OpenSession(NamedTuple):
    """The session that a key has now."""

    pk: int
    session_id: str
    inherited: tuple[Part, ...] = ()
    """What a branch starts from."""
    untold_reset: str = ""
    """Why the clock put the session before it aside, until the person and the model have been told."""
    parent_session_id: str = ""
    """The id of the session before it, where there is such a reset to tell of."""
    prompt: str = ""
    """The system prompt that it is pinned to; read only for a turn, as all that follows."""
    prompt_hash: str = ""
    is_resting: bool = False
    """A compression is under way, or came to nothing a while ago."""
    overrides: Overrides = NOTHING_CHOSEN
    """What its people chose to be different in it."""
    compressed: Compressed | None = None
    resumed_at: datetime | None = None
    said_at: datetime | None = None
    """When something was last said in it; read only where sessions may end by the clock."""


def reading_sessions(keys: Collection[str], *, for_turn: bool = False, with_ages: bool = False) -> Statement:
    """The statement that finds the open sessions of `keys`; give its rows to `opened_sessions()`.

    With `for_turn` it also reads what the model gets in every turn, and with `with_ages` beside that when the session
    was last in use.
    """
    parent = f"(SELECT session_id FROM {TABLE} parent WHERE parent.id = s.parent_id)"
    more, joined = "", ""
    if for_turn:
        now = clock.now()
        resting = f"(s.compression_lease_until > {now} OR s.compression_not_before > {now})"
        state = "c.id, c.head_until, c.last_message, c.pruned_until, c.summary"
        more = f", s.prompt, s.prompt_hash, {resting}, s.overrides, {state}"
        joined = f" LEFT JOIN {COMPRESSION} c ON c.id = s.compression_id"
        if with_ages:
            said = f"(SELECT created_at FROM {TRANSCRIPT} WHERE session_id = s.id ORDER BY id DESC LIMIT 1)"
            more += f", s.resumed_at, {said}"
    return Statement(
        f"SELECT s.session_key, s.id, s.session_id, s.inherited, s.untold_reset,"
        f" CASE WHEN s.untold_reset <> '' THEN {parent} END{more} FROM {TABLE} s{joined}"
        f" WHERE s.session_key IN ({', '.join(['%s'] * len(keys))}) AND s.ended_at IS NULL",
        list(keys),
    )


def _found(rows: list[Row]) -> dict[str, OpenSession]:
    return {
        key: OpenSession(pk, session_id, lineage.read(inherited), untold, parent or "", *_for_turn(*more))
        for key, pk, session_id, inherited, untold, parent, *more in rows
    }


def _for_turn(
    prompt: str = "", prompt_hash: str = "", is_resting: bool | None = None, chosen: Any = None, *more: Any
) -> tuple[str, str, bool, Overrides, Compressed | None, *tuple[datetime | None, ...]]:
    width = len(Compressed._fields)
    compressed, ages = more[:width], more[width:]
    known = Compressed(*compressed) if compressed and compressed[0] else None
    overrides = Overrides.from_json(chosen) if chosen else NOTHING_CHOSEN
    return prompt, prompt_hash, bool(is_resting), overrides, known, *map(clock.moment, ages)


def opened_sessions(rows: list[Row], sources: Mapping[str, SessionSource]) -> dict[str, OpenSession]:
    """The open session of each key of `sources`, opened where `rows` has none. Must run in a transaction.

    Safe when it runs at once for one key: a unique constraint keeps one session open per key.
    """
    found = _found(rows)
    missing = sorted(set(sources) - set(found))
    if missing:
        execute(_opening({key: sources[key] for key in missing}))
        found |= _found(execute(reading_sessions(missing))[0])
    return found


def open_sessions(sources: Mapping[str, SessionSource]) -> dict[str, OpenSession]:
    """The open session of each key, opened where there is none. `sources` maps a session key to its source."""
    if not sources:
        return {}
    with transaction.atomic():
        return opened_sessions(execute(reading_sessions(sources))[0], sources)


def _opening(sources: Mapping[str, SessionSource]) -> Statement:
    columns = (
        "session_id", "session_key", "platform", "account", "chat_id", "chat_type", "thread_id", "user_id", "user_name",
    )  # fmt: skip
    rows = []
    for key, source in sources.items():
        person = ("", "") if is_shared(source) else (source.user_id, source.user_name)
        rows.append(
            (
                new_session_id(), key, source.platform, source.account, source.chat_id, source.chat_type.value,
                source.thread_id, *person,
            )
        )  # fmt: skip
    return insert(Session, columns=columns, rows=rows, ignore_conflicts=True)


def context_of(source: SessionSource, *, session_id: str) -> SessionContext:
    """The context that a turn of this source carries."""
    key = session_key(source)
    return SessionContext(
        session_key=key,
        session_id=session_id,
        honcho_session_key=key,
        platform=source.platform,
        account=source.account,
        chat_id=source.chat_id,
        chat_type=source.chat_type.value,
        thread_id=source.thread_id,
        user_id=source.user_id,
        user_name=source.user_name,
    )
