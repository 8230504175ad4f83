"""Takes messages in the mode `steer` into the turn that runs, where a step ends."""

from __future__ import annotations

from gateway_app import lanes
from gateway_app.models import InboundMessage
from gateway_app.models.inbox import InboundState
from gateway_app.models.turn import StepKind
from gateway_app.statements import Statement, execute

from . import journal
from .opening import OpenTurn
from .waiting import said, to_steer

INBOX = InboundMessage._meta.db_table


def take(turn: OpenTurn) -> None:
    """Makes what waits to steer the turn part of it, and a step of its journal; so a takeover sees the same.

    Messages of another person wait for a turn of their own. Raises `LaneLost`.
    """
    with lanes.fenced(turn.claim):
        lanes.hold(turn.claim)
        found = to_steer(lane_id=turn.claim.lane_id, participant=turn.source.participant)
        if found:
            text = "\n\n".join(said(message) for message in found)
            step = journal.Step(StepKind.STEERED, {"content": text, "messages": [message.row_id for message in found]})
            execute(
                Statement(
                    f"UPDATE {INBOX} SET state = %s, turn_id = %s WHERE id IN ({', '.join(['%s'] * len(found))})",
                    [InboundState.RUNNING.value, turn.turn_id, *(message.row_id for message in found)],
                ),
                journal.writing(turn_id=turn.turn_id, first=len(turn.steps), steps=[step]),
            )
    turn.seen_tail = turn.claim.tail
    if found:
        turn.steps.append(step)
        turn.reply_to = found[-1].message_id
