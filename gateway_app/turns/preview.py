"""The preview of a reply in the turn's row: whoever goes on with the turn, or closes it, knows the message.

That a preview is about to be sent is recorded before it is sent, and its id right after. One that was sent and whose id
never came is left where it is, with its cursor, and `?` in the row.
"""

from __future__ import annotations

from gateway_app import clock, lanes
from gateway_app.models import OutboundPart, SendGate, Turn
from gateway_app.models.lane import LaneKind
from gateway_app.models.turn import UNKNOWN_PREVIEW
from gateway_app.sessions.key import delivery_key
from gateway_app.sessions.source import SessionContext
from gateway_app.statements import Sql, Statement, execute

from .opening import OpenTurn

LANE = lanes.TABLE
PART = OutboundPart._meta.db_table
GATE = SendGate._meta.db_table
TURN = Turn._meta.db_table


def announce(turn: OpenTurn) -> int | None:
    """Records that a preview is about to be sent; the newest place in the chat, which it comes after.

    Nothing where the chat is not free for one: a part waits to be sent, the account was told to wait, or the turn is to
    stop. Raises `LaneLost`.
    """
    free = _is_free(turn.context)
    with lanes.fenced(turn.claim):
        held, announced = execute(
            lanes.holding(turn.claim),
            Statement(
                f"UPDATE {TURN} SET preview_id = %s, preview_seq = coalesce((SELECT tail FROM {LANE} WHERE kind = %s"
                f" AND key = %s), 0) WHERE id = %s AND state = 'running' AND stop = '' AND {free.sql}"
                " RETURNING preview_seq",
                [UNKNOWN_PREVIEW, LaneKind.DELIVERY.value, _key(turn.context), turn.turn_id, *free.values],
            ),
        )
        lanes.held(turn.claim, held)
    return announced[0][0] if announced else None


def record(turn: OpenTurn, *, message_id: str) -> None:
    """Records the preview's id. Raises `LaneLost`."""
    with lanes.fenced(turn.claim):
        held, _ = execute(
            lanes.holding(turn.claim),
            Statement(f"UPDATE {TURN} SET preview_id = %s WHERE id = %s", [message_id[:255], turn.turn_id]),
        )
        lanes.held(turn.claim, held)


def forgetting(turn: OpenTurn) -> Statement:
    """The statement after which the turn's row has no preview: the message stays in the chat as it is."""
    return Statement(f"UPDATE {TURN} SET preview_id = '' WHERE id = %s", [turn.turn_id])


def is_free(context: SessionContext) -> bool:
    """Whether nothing waits to be sent to the chat, and nobody has told the account to wait."""
    free = _is_free(context)
    return bool(execute(Statement(f"SELECT {free.sql}", free.values))[0][0][0])


def _is_free(context: SessionContext) -> Sql:
    return Sql(
        f"(NOT EXISTS (SELECT 1 FROM {PART} part JOIN {LANE} lane ON lane.id = part.lane_id WHERE lane.kind = %s"
        " AND lane.key = %s AND part.state IN ('waiting', 'sending'))"
        f" AND NOT EXISTS (SELECT 1 FROM {GATE} WHERE platform = %s AND account = %s"
        f" AND closed_until > {clock.now()}))",
        [LaneKind.DELIVERY.value, _key(context), context.platform, context.account],
    )


def _key(context: SessionContext) -> str:
    return delivery_key(platform=context.platform, account=context.account, chat_id=context.chat_id)
