from __future__ import annotations

from django.db import models


class RateBucket(models.Model):
    """A token bucket of a sender or a chat, used while Redis is away. See `gateway_app.access.limits`."""

    key = models.CharField(max_length=255, primary_key=True)
    tokens = models.FloatField()
    filled_at = models.DateTimeField(db_index=True)
    noticed_at = models.DateTimeField(null=True, blank=True, help_text="When its owner was last told to slow down.")

    def __str__(self) -> str:
        return self.key
