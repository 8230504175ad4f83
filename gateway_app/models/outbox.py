from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from gateway_app.sealing import PLACEHOLDER


class OutboundState(models.TextChoices):
    WAITING = "waiting", "waiting to be sent"
    SENDING = "sending", "being sent"
    SENT = "sent", "sent"
    DEAD = "dead", "dead letter"
    DISCARDED = "discarded", "dead letter, discarded by an operator"


OPEN_STATES = (OutboundState.WAITING, OutboundState.SENDING)
"""Still to be sent."""


class OutboundPart(models.Model):
    """One send to a platform: a reply, a piece of a long reply, or a notice."""

    lane = models.ForeignKey("Lane", on_delete=models.PROTECT, related_name="outbound", db_index=False)
    seq = models.BigIntegerField(help_text="Place in the chat.")
    idempotency_key = models.CharField(
        max_length=128,
        help_text="Names the part for ever; platforms that can tell doubles get it.",
    )
    platform = models.CharField(max_length=32)
    account = models.CharField(max_length=128, blank=True)
    chat_id = models.CharField(max_length=255)
    thread_id = models.CharField(max_length=255, blank=True)
    reply_to = models.CharField(max_length=255, blank=True, help_text="The platform's id of the message answered.")
    replaces = models.CharField(
        max_length=255,
        blank=True,
        db_default="",
        help_text="The platform's id of a message of ours that the part takes the place of, such as a reply's preview.",
    )
    removes = models.CharField(
        max_length=255,
        blank=True,
        db_default="",
        help_text="The platform's id of a message of ours that is deleted once the part was sent.",
    )
    text = models.TextField()
    buttons = models.TextField(
        blank=True, db_default="", help_text="JSON: the label and the value of each button below the text."
    )
    media = models.ForeignKey(
        "MediaFile",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="outbound",
        db_index=False,
        help_text="The file that is sent instead of the text, which describes it.",
    )
    is_sealed = models.BooleanField(
        db_default=False, help_text="The text is a secret: encrypted until it is sent, and erased then."
    )
    turn = models.ForeignKey("Turn", null=True, blank=True, on_delete=models.SET_NULL, related_name="outbound")
    state = models.CharField(max_length=16, choices=OutboundState, default=OutboundState.WAITING)
    attempts = models.IntegerField(default=0, help_text="Sends that were started.")
    unknown_outcomes = models.IntegerField(
        db_default=0, help_text="Attempts that may or may not have reached the platform."
    )
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, db_default="")
    platform_message_id = models.CharField(max_length=255, blank=True, db_default="")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        constraints = [
            # Not `unique=True`, which on PostgreSQL adds a second index, for LIKE, to every row written.
            models.UniqueConstraint(fields=["idempotency_key"], name="outbound_key_once"),
            models.UniqueConstraint(fields=["lane", "seq"], name="outbound_one_place_in_lane"),
        ]
        indexes = [
            models.Index(
                fields=["lane", "seq"],
                condition=models.Q(state__in=["waiting", "sending"]),
                name="outbound_open",
            ),
            models.Index(fields=["state", "id"], condition=~models.Q(state="sent"), name="outbound_not_sent"),
        ]

    def __str__(self) -> str:
        return f"{self.platform} {self.chat_id} part {self.seq}"

    @property
    def shown_text(self) -> str:
        """The text as people may see it."""
        return PLACEHOLDER if self.is_sealed else self.text


class SendGate(models.Model):
    """A platform account told us to wait; no worker sends for it before `closed_until`."""

    platform = models.CharField(max_length=32)
    account = models.CharField(max_length=128, blank=True)
    closed_until = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["platform", "account"], name="gate_once_per_account")]

    def __str__(self) -> str:
        return f"{self.platform} {self.account} closed until {self.closed_until}"
