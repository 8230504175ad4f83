"""Tells a chat that its turn is still being worked on."""

from __future__ import annotations

from gateway_app import background, doorbell, lanes
from gateway_app.delivery import outbox
from gateway_app.models import OutboundPart, Turn
from gateway_app.models.outbox import OutboundState
from gateway_app.models.turn import TurnState
from gateway_app.sessions.key import delivery_key

from .opening import OpenTurn


def still_working(turn: OpenTurn, *, number: int, minutes: int) -> None:
    """Puts the turn's notice of this `number` into the outbox, under the turn's fence, and rings for it.

    It takes the place of the one before, where the platform can edit and nothing else was said since. Nothing is said
    of a turn that has ended meanwhile. Raises `LaneLost`.
    """
    context = turn.context
    with lanes.fenced(turn.claim):
        lanes.hold(turn.claim)
        if not Turn.objects.filter(pk=turn.turn_id, state=TurnState.RUNNING).exists():
            return  # the lane is still this worker's, for the session's next turn
        text = f"I am still working on it{f' ({minutes} min so far)' if minutes else ''}."
        outbox.enqueue(
            outbox.Draft(
                key=_name(turn, number=number),
                platform=context.platform,
                account=context.account,
                chat_id=context.chat_id,
                thread_id=context.thread_id,
                text=background.labelled(turn.source, text),
                turn_id=turn.turn_id,
                place=_before(turn, number=number),
            )
        )
    doorbell.ring_delivery([delivery_key(platform=context.platform, account=context.account, chat_id=context.chat_id)])


def _name(turn: OpenTurn, *, number: int) -> str:
    return f"still/{turn.turn_id}/{turn.attempts}/{number}"


def _before(turn: OpenTurn, *, number: int) -> outbox.Place | None:
    """The place of the notice before this one, where there is one."""
    part = OutboundPart.objects.filter(idempotency_key=f"{_name(turn, number=number - 1)}/0", state=OutboundState.SENT)
    found = part.exclude(platform_message_id="").values_list("platform_message_id", "seq").first()
    return outbox.Place(*found) if found else None
