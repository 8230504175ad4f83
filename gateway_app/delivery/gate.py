"""Send gates: a platform account that told us to wait, and the operator who knows better."""

from __future__ import annotations

import functools

from django.db import connection, transaction

from gateway_app import clock, doorbell, lanes
from gateway_app.models import Lane, OutboundPart, SendGate
from gateway_app.models.outbox import OutboundState

GATE = SendGate._meta.db_table
RUNG = 50
"""Chats that are rung at once; the sweep, seconds later, rings for the rest."""


def open_now(*, gate_id: int) -> bool:
    """Opens a gate before its time and makes what waited for it due; False where it is open already.

    The platform may well close it again at the next send.
    """
    gate = SendGate.objects.filter(pk=gate_id).first()
    if gate is None:
        return False
    with transaction.atomic():
        waiting = OutboundPart.objects.filter(state=OutboundState.WAITING, platform=gate.platform, account=gate.account)
        chats = list(Lane.objects.filter(pk__in=waiting.values("lane_id")).order_by("pk").values_list("pk", "key"))
        # Lanes first, as workers do: a send that fails at this moment holds its lane and wants the gate.
        for lane_id, _ in chats:
            lanes.wake(lane_id=lane_id)
        if not _open(gate_id):
            return False
        held_back = waiting.filter(lane_id__in=[pk for pk, _ in chats], next_attempt_at__lte=gate.closed_until)
        held_back.update(next_attempt_at=None)
        keys = [key for _, key in chats[:RUNG]]
        transaction.on_commit(functools.partial(doorbell.ring_delivery, keys), robust=True)
    return True


def _open(gate_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {GATE} SET closed_until = {clock.now()} WHERE id = %s AND closed_until > {clock.now()}"
            " RETURNING id",
            [gate_id],
        )
        return cursor.fetchone() is not None
