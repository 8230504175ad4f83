from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Channel(models.Model):
    """A chat the gateway has heard from, and so can send to."""

    platform = models.CharField(max_length=32)
    account = models.CharField(max_length=128, blank=True)
    chat_id = models.CharField(max_length=255)
    thread_id = models.CharField(max_length=255, blank=True)
    chat_type = models.CharField(max_length=16)
    name = models.CharField(max_length=255, blank=True)
    first_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["platform", "account", "chat_id", "thread_id"], name="channel_once_per_place"
            )
        ]

    def __str__(self) -> str:
        return self.name or f"{self.platform} {self.chat_id}"
