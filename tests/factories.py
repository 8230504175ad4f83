"""Rows for tests. Each function makes one valid row; keyword arguments override what it chooses."""

from __future__ import annotations

import itertools
from typing import Any

from gateway_app.models import InboundMessage, Lane, OutboundPart, Session, TranscriptMessage, Turn
from gateway_app.models.lane import LaneKind
from gateway_app.models.turn import TurnState
from gateway_app.sessions.key import delivery_key, session_key
from gateway_app.sessions.source import ChatType, SessionSource
from honcho_app.models import HonchoWrite

_numbers = itertools.count(1)


def make_source(**values: Any) -> SessionSource:
    """A direct message of a person of their own on Telegram."""
    number = next(_numbers)
    return SessionSource(
        **{
            "platform": "telegram",
            "account": "bot",
            "chat_id": f"chat-{number}",
            "chat_type": ChatType.DM,
            "user_id": f"user-{number}",
            "user_name": f"Person {number}",
            **values,
        }
    )


def make_lane(*, kind: LaneKind = LaneKind.TURNS, **values: Any) -> Lane:
    return Lane.objects.create(kind=kind, **{"key": f"agent:main:telegram:dm:lane-{next(_numbers)}", **values})


def make_session(*, source: SessionSource | None = None, **values: Any) -> Session:
    """An open session of `source`."""
    source = source or make_source()
    return Session.objects.create(
        **{
            "session_id": f"20260101_000000_{next(_numbers):08x}",
            "session_key": session_key(source),
            "platform": source.platform,
            "account": source.account,
            "chat_id": source.chat_id,
            "chat_type": source.chat_type.value,
            "thread_id": source.thread_id,
            "user_id": source.user_id,
            "user_name": source.user_name,
            **values,
        }
    )


def make_message(*, session: Session | None = None, **values: Any) -> TranscriptMessage:
    """A message of a session's transcript."""
    return TranscriptMessage.objects.create(
        session=session or make_session(), **{"role": "user", "content": "Hello", **values}
    )


def make_turn(*, session: Session | None = None, lane: Lane | None = None, **values: Any) -> Turn:
    """A turn that has ended well. Its lane is the session's."""
    session = session or make_session()
    lane = lane or _lane(LaneKind.TURNS, session.session_key)
    return Turn.objects.create(session=session, lane=lane, **{"state": TurnState.DONE, **values})


def make_inbound(*, source: SessionSource | None = None, lane: Lane | None = None, **values: Any) -> InboundMessage:
    """A waiting message, last in its session's lane."""
    source = source or make_source()
    lane = lane or _lane(LaneKind.TURNS, session_key(source))
    number = next(_numbers)
    return InboundMessage.objects.create(
        lane=lane,
        **{
            "platform": source.platform,
            "account": source.account,
            "event_id": f"event-{number}",
            "seq": _next_seq(lane),
            "source": source.to_json(),
            "user_id": source.user_id,
            "text": f"Message {number}",
            "message_id": f"message-{number}",
            **values,
        },
    )


def make_outbound(*, source: SessionSource | None = None, lane: Lane | None = None, **values: Any) -> OutboundPart:
    """A waiting part, last in its chat's lane."""
    source = source or make_source()
    lane = lane or _lane(
        LaneKind.DELIVERY,
        delivery_key(platform=source.platform, account=source.account, chat_id=source.chat_id),
    )
    number = next(_numbers)
    return OutboundPart.objects.create(
        lane=lane,
        **{
            "seq": _next_seq(lane),
            "idempotency_key": f"test/{number}/0",
            "platform": source.platform,
            "account": source.account,
            "chat_id": source.chat_id,
            "thread_id": source.thread_id,
            "text": f"Reply {number}",
            **values,
        },
    )


def make_write(*, turn: Turn | None = None, **values: Any) -> HonchoWrite:
    """A waiting message for Honcho, last in its key's lane."""
    turn = turn or make_turn()
    lane = _lane(LaneKind.HONCHO, turn.session.session_key)
    number = next(_numbers)
    return HonchoWrite.objects.create(
        lane=lane,
        session=turn.session,
        turn=turn,
        **{
            "seq": _next_seq(lane),
            "part": number,
            "role": "user",
            "peer": f"person-{number}",
            "content": f"Said {number}",
            **values,
        },
    )


def _lane(kind: LaneKind, key: str) -> Lane:
    lane, _ = Lane.objects.get_or_create(kind=kind, key=key)
    return lane


def _next_seq(lane: Lane) -> int:
    lane.tail += 1
    Lane.objects.filter(pk=lane.pk).update(tail=lane.tail)
    return lane.tail
