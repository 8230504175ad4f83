"""Work beside a conversation: a person's request that is answered in the same chat, by a session of its own.

Its session's key is that of the chat, the person, and the work's own id, so that it shares nothing with the
conversation that goes on meanwhile, and with nobody else. All that is left to do is put the request into that lane.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from datetime import datetime

from gateway_app import lanes
from gateway_app.models import InboundMessage, Session
from gateway_app.models.inbox import OPEN_STATES, BusyMode, InboundState
from gateway_app.models.lane import LaneKind
from gateway_app.sessions.key import session_key
from gateway_app.sessions.routing import context_of, open_sessions
from gateway_app.sessions.source import SessionContext, SessionSource

ID = re.compile(r"[0-9a-f]{6}")
"""Of work; people type it, and one chat has few of them at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something that is worked on."""

    work_id: str
    prompt: str
    since: datetime


def begin(source: SessionSource, *, place: int, prompt: str) -> tuple[str, SessionContext]:
    """Puts the request into a lane of its own; returns its id, and the session that is to be rung for.

    `place` is that of the command in the conversation's lane, so that the same command never begins it twice. What was
    chosen for the conversation holds for it too. Must run in the transaction that accepts the command.
    """
    digest = hashlib.sha256(f"{session_key(source)}\0{place}".encode()).hexdigest()
    beside = replace(source, background=digest[:6])
    key = session_key(beside)
    spot = lanes.put(kind=LaneKind.TURNS, counts={key: 1})[key]
    session = open_sessions({key: beside})[key]
    chosen = Session.objects.filter(session_key=session_key(source), ended_at=None).values("overrides")[:1]
    Session.objects.filter(pk=session.pk).update(overrides=chosen)
    InboundMessage.objects.create(
        platform=beside.platform,
        account=beside.account,
        event_id=f"background/{digest}",
        lane_id=spot.lane_id,
        seq=spot.tail,
        source=json.loads(json.dumps(beside.to_json())),
        user_id=beside.user_id,
        text=prompt,
        busy_mode=BusyMode.QUEUE,
        state=InboundState.WAITING,
    )
    return beside.background, context_of(beside, session_id=session.session_id)


def under_way(source: SessionSource) -> list[Work]:
    """What the person has in work beside the conversation of `source`, oldest first."""
    rows = (
        InboundMessage.objects.filter(
            lane__kind=LaneKind.TURNS, lane__key__startswith=key_of(source, ""), state__in=OPEN_STATES
        )
        .order_by("id")
        .values_list("lane__key", "text", "accepted_at")
    )
    # Looked at again: SQLite takes capitals and small letters for the same there.
    found = [(key.removeprefix(key_of(source, "")), text, since) for key, text, since in rows]
    return [Work(work_id=work_id, prompt=text, since=since) for work_id, text, since in found if ID.fullmatch(work_id)]


def key_of(source: SessionSource, work_id: str) -> str:
    """The session key of the person's work of this id; of an empty one, what the keys of all of it begin with."""
    return session_key(replace(source, background="0")).removesuffix("0") + work_id


def labelled(source: SessionSource, text: str) -> str:
    """`text` as the chat gets it, with the work that it belongs to."""
    return f"[Background {source.background}] {text}" if source.background and text else text
