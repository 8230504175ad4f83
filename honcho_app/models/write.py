from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class WriteState(models.TextChoices):
    WAITING = "waiting", "waiting to be written"
    SENT = "sent", "written"
    DEAD = "dead", "dead letter"
    DISCARDED = "discarded", "dead letter, discarded by an operator"


class Role(models.TextChoices):
    USER = "user", "a person"
    ASSISTANT = "assistant", "the agent"


class HonchoWrite(models.Model):
    """Something that was said, to be written to Honcho: a message, or a part of a long one.

    Put down by `honcho_app.ledger` in the transaction that closes the turn, and written by whoever holds the lane of
    the Honcho session key.
    """

    lane = models.ForeignKey("gateway_app.Lane", on_delete=models.PROTECT, related_name="honcho_writes", db_index=False)
    seq = models.BigIntegerField(help_text="Place in the Honcho session.")
    session = models.ForeignKey(
        "gateway_app.Session", on_delete=models.PROTECT, related_name="honcho_writes", db_index=False
    )
    turn = models.ForeignKey("gateway_app.Turn", on_delete=models.PROTECT, related_name="honcho_writes", db_index=False)
    part = models.IntegerField(help_text="Place in the turn.")
    role = models.CharField(max_length=16, choices=Role)
    peer = models.CharField(max_length=100, help_text="Honcho's name for who said it.")
    content = models.TextField()
    said_at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=16, choices=WriteState, default=WriteState.WAITING)
    attempts = models.IntegerField(db_default=0, help_text="Requests that carried it.")
    attempted_at = models.DateTimeField(
        null=True, blank=True, help_text="When a request began that may have written it; empty where none may have."
    )
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True, db_default="")
    message_id = models.CharField(max_length=64, blank=True, db_default="", help_text="Honcho's id of the message.")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "memory write"
        constraints = [
            models.UniqueConstraint(fields=["turn", "part"], name="write_part_once_per_turn"),
            models.UniqueConstraint(fields=["lane", "seq"], name="write_one_place_in_lane"),
        ]
        indexes = [
            models.Index(fields=["lane", "seq"], condition=models.Q(state="waiting"), name="write_waiting"),
            models.Index(fields=["state", "id"], condition=~models.Q(state="sent"), name="write_not_sent"),
            models.Index(fields=["finished_at"], condition=models.Q(state="sent"), name="write_sent"),
        ]

    def __str__(self) -> str:
        return f"turn {self.turn_id} part {self.part}"
