from __future__ import annotations

from django.db import models


class LaneKind(models.TextChoices):
    """What a lane carries; its key means something else for each."""

    TURNS = "turns", "turns (key: session key)"
    DELIVERY = "delivery", "delivery (key: platform, account and chat)"
    HONCHO = "honcho", "honcho (key: Honcho session key)"


class Lane(models.Model):
    """A keyed mailbox worked by at most one worker at a time, in sequence order. See `gateway_app.lanes`."""

    kind = models.CharField(max_length=16, choices=LaneKind)
    key = models.CharField(max_length=1024)
    lease_owner = models.CharField(max_length=128, blank=True, db_default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.BigIntegerField(db_default=0, help_text="One higher at each claim; results commit only under it.")
    tail = models.BigIntegerField(db_default=0, help_text="Sequence number of the newest item.")
    wake_at = models.DateTimeField(null=True, blank=True, help_text="When to ring; empty while nothing waits.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="lane_key_once_per_kind")]
        indexes = [models.Index(fields=["wake_at"], condition=models.Q(wake_at__isnull=False), name="lane_waiting")]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"
