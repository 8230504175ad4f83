"""Finds the open session of a key, or opens one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from django.db import IntegrityError, transaction
from django.utils import timezone

from gateway_app.models import Session

from .key import is_shared, session_key
from .source import SessionContext, SessionSource


def new_session_id() -> str:
    """`YYYYMMDD_HHMMSS_<8 hex>`, in UTC."""
    return f"{timezone.now():%Y%m%d_%H%M%S}_{secrets.token_hex(4)}"


def open_sessions(sources: Mapping[str, SessionSource]) -> dict[str, Session]:
    """The open session of each key, opened where there is none. `sources` maps a session key to its source.

    Safe when it runs at once for one key: a unique constraint keeps one session open per key.
    """
    found = {row.session_key: row for row in Session.objects.filter(session_key__in=sources, ended_at=None)}
    for key in sorted(set(sources) - set(found)):
        found[key] = _open(key=key, source=sources[key])
    return found


def _open(*, key: str, source: SessionSource) -> Session:
    shared = is_shared(source)
    try:
        with transaction.atomic():
            return Session.objects.create(
                session_id=new_session_id(),
                session_key=key,
                platform=source.platform,
                account=source.account,
                chat_id=source.chat_id,
                chat_type=source.chat_type.value,
                thread_id=source.thread_id,
                user_id="" if shared else source.user_id,
                user_name="" if shared else source.user_name,
            )
    except IntegrityError:
        return Session.objects.get(session_key=key, ended_at=None)


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
