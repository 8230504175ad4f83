from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class InboundState(models.TextChoices):
    WAITING = "waiting", "waiting for its turn"
    RUNNING = "running", "taken by a turn"
    DONE = "done", "answered"
    REFUSED = "refused", "refused with an answer"
    REJECTED = "rejected", "could not be read"
    DEAD = "dead", "dead letter"
    DISCARDED = "discarded", "dead letter, discarded by an operator"


OPEN_STATES = (InboundState.WAITING, InboundState.RUNNING)
"""Still to be answered."""


class BusyMode(models.TextChoices):
    """What becomes of a message that comes while its session's turn runs."""

    COLLECT = "collect", "waits, and is answered together with what else waits"
    QUEUE = "queue", "waits, and is a turn by itself"
    STEER = "steer", "joins the running turn at its next step"
    INTERRUPT = "interrupt", "stops the running turn"


class InboundMessage(models.Model):
    """One event from a platform, accepted exactly once: the platform is acknowledged only after this row commits."""

    platform = models.CharField(max_length=32)
    account = models.CharField(max_length=128, blank=True)
    event_id = models.CharField(max_length=255, help_text="The platform's own id of the event.")
    lane = models.ForeignKey(
        "Lane", null=True, blank=True, on_delete=models.PROTECT, related_name="inbound", db_index=False
    )
    seq = models.BigIntegerField(null=True, blank=True, help_text="Place in the lane.")
    source = models.JSONField(default=dict, help_text="Who wrote where: gateway_app.sessions.source.SessionSource.")
    user_id = models.CharField(max_length=255, blank=True)
    text = models.TextField(blank=True)
    asks = models.TextField(
        null=True, blank=True, help_text="What the agent is asked instead of the text: a command that asks again."
    )
    attachments = models.JSONField(
        null=True, blank=True, help_text="Files that came with it: gateway_app.media.attachment.Attachment."
    )
    message_id = models.CharField(max_length=255, blank=True, help_text="The platform's id of the message.")
    busy_mode = models.CharField(
        max_length=16, choices=BusyMode, db_default=BusyMode.COLLECT, help_text="As it was when the message came."
    )
    state = models.CharField(max_length=16, choices=InboundState, default=InboundState.WAITING)
    reason = models.TextField(blank=True, help_text="Why it was refused, rejected or given up.")
    turn = models.ForeignKey("Turn", null=True, blank=True, on_delete=models.SET_NULL, related_name="inbound")
    accepted_at = models.DateTimeField(db_default=Now(), db_index=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["platform", "account", "event_id"], name="inbound_event_once"),
            models.UniqueConstraint(fields=["lane", "seq"], name="inbound_one_place_in_lane"),
        ]
        indexes = [
            models.Index(
                fields=["lane", "seq"],
                condition=models.Q(state__in=["waiting", "running"]),
                name="inbound_open",
            ),
            models.Index(fields=["state", "id"], condition=~models.Q(state="done"), name="inbound_not_done"),
        ]

    def __str__(self) -> str:
        return f"{self.platform} event {self.event_id}"
