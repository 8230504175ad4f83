from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class HomeChannel(models.Model):
    """The chat that is meant on a platform where none is named, as somebody chose it with /sethome."""

    platform = models.CharField(max_length=32)
    account = models.CharField(max_length=128, blank=True)
    chat_id = models.CharField(max_length=255)
    thread_id = models.CharField(max_length=255, blank=True)
    name = models.CharField(max_length=255, blank=True)
    chosen_by = models.CharField(max_length=255, blank=True, help_text="The user id of who chose it.")
    chosen_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["platform"], name="home_channel_once_per_platform")]

    def __str__(self) -> str:
        return self.name or f"{self.platform} {self.chat_id}"
