"""Asks a running or parked turn to stop. The turn's row is the request; the worker that runs it looks, whichever it is.

A message in the mode `interrupt` asks in the transaction that accepts it, `/stop` in the transaction that accepts the
command. Both hold the session's lane by then, so that each turn is either still running, or closed before they look.
A parked turn has no worker: it stops when its session is rung for, which whoever accepts either of them does.
"""

from __future__ import annotations

from enum import StrEnum

from gateway_app import clock, lanes
from gateway_app.models import InboundMessage, Turn
from gateway_app.models.inbox import BusyMode, InboundState
from gateway_app.models.lane import LaneKind
from gateway_app.models.turn import StopReason
from gateway_app.sessions.source import SessionSource
from gateway_app.statements import Sql, Statement, execute

from .waiting import coming

INBOX = InboundMessage._meta.db_table
TURN = Turn._meta.db_table
MOST_INTERRUPTS = 3
"""Turns of a session that messages interrupt in a row; the next one runs to its end, so that something is answered."""
WITHDRAWN = "stopped before it was begun"


class Asked(StrEnum):
    """What came of `/stop`."""

    STOPPING = "stopping"
    """The running turn stops at its next checkpoint."""
    ALREADY = "already"
    """It was asked before."""
    WITHDRAWN = "withdrawn"
    """No turn had begun, and the one that was next does not begin."""
    NOTHING = "nothing"


def ask(*, session_key: str, by: SessionSource, before: int) -> Asked:
    """Stops what the session is at: its running turn, or what would be the next one if none has begun.

    Only what came `before` this place in the lane counts. Must run in a transaction that holds the lane's row.
    """
    stopped, running = execute(
        Statement(
            f"UPDATE {TURN} SET stop = %s, stop_by = %s, stop_asked_at = {clock.now()}"
            f" WHERE lane_id = ({_lane(session_key).sql}) AND state IN ('running', 'parked') AND stop <> %s"
            " RETURNING id",
            [
                StopReason.STOPPED.value, by.user_id, *_lane(session_key).values, StopReason.STOPPED.value,
            ],
        ),
        Statement(
            f"SELECT id FROM {TURN} WHERE lane_id = ({_lane(session_key).sql}) AND state IN ('running', 'parked')",
            _lane(session_key).values,
        ),
    )  # fmt: skip
    if running:
        return Asked.STOPPING if stopped else Asked.ALREADY
    next_turn = coming(lane=_lane(session_key), before=before)
    if not next_turn:
        return Asked.NOTHING
    execute(
        Statement(
            f"UPDATE {INBOX} SET state = %s, reason = %s, finished_at = {clock.now()}"
            f" WHERE id IN ({', '.join(['%s'] * len(next_turn))})",
            [InboundState.DONE.value, WITHDRAWN, *(message.row_id for message in next_turn)],
        )
    )
    return Asked.WITHDRAWN


def interrupting(*, session_key: str, user_id: str, after: int) -> Statement:
    """Stops the session's running turn for a message of `user_id` that has a place `after` this one in the lane.

    Only whoever the turn answers interrupts it, and no more than MOST_INTERRUPTS in a row; otherwise the message waits.
    It looks for the message itself, since one that is known already was not written again. For the transaction that
    writes it, which holds the lane's row.
    """
    lane = _lane(session_key)
    return Statement(
        f"UPDATE {TURN} SET stop = %s, stop_by = %s, stop_asked_at = {clock.now()}"
        f" WHERE lane_id = ({lane.sql}) AND state IN ('running', 'parked') AND stop = '' AND interrupts < %s"
        f" AND EXISTS (SELECT 1 FROM {INBOX} asked WHERE asked.turn_id = {TURN}.id AND asked.user_id = %s)"
        f" AND EXISTS (SELECT 1 FROM {INBOX} came WHERE came.lane_id = {TURN}.lane_id AND came.seq > %s"
        " AND came.state = 'waiting' AND came.busy_mode = %s AND came.user_id = %s)",
        [
            StopReason.INTERRUPTED.value, user_id, *lane.values, MOST_INTERRUPTS, user_id, after,
            BusyMode.INTERRUPT.value, user_id,
        ],
    )  # fmt: skip


def asked() -> dict[int, StopReason]:
    """The turns of the whole fleet that were asked to stop and run still; their index is empty nearly always.

    One statement, so that it needs no transaction, which would keep writers out on SQLite.
    """
    (rows,) = execute(Statement(f"SELECT id, stop FROM {TURN} WHERE state = 'running' AND NOT (stop = '')"))
    return {turn_id: StopReason(stop) for turn_id, stop in rows}


def _lane(session_key: str) -> Sql:
    return Sql(f"SELECT id FROM {lanes.TABLE} WHERE kind = %s AND key = %s", [LaneKind.TURNS.value, session_key])
