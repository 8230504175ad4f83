"""Tells a chat that its turn is still being worked on."""

from __future__ import annotations

from gateway_app import doorbell, lanes
from gateway_app.delivery import outbox
from gateway_app.sessions.key import delivery_key

from .opening import OpenTurn


def still_working(turn: OpenTurn, *, number: int, minutes: int) -> None:
    """Puts the turn's notice of this `number` into the outbox, under the turn's fence, and rings for it.

    Raises `LaneLost`.
    """
    context = turn.context
    with lanes.fenced(turn.claim):
        lanes.hold(turn.claim)
        outbox.enqueue(
            outbox.Draft(
                key=f"still/{turn.turn_id}/{turn.attempts}/{number}",
                platform=context.platform,
                account=context.account,
                chat_id=context.chat_id,
                thread_id=context.thread_id,
                text=f"I am still working on it{f' ({minutes} min so far)' if minutes else ''}.",
                turn_id=turn.turn_id,
            )
        )
    doorbell.ring_delivery([delivery_key(platform=context.platform, account=context.account, chat_id=context.chat_id)])
