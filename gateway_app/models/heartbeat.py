from __future__ import annotations

from django.db import models


class Heartbeat(models.Model):
    """When something last proved that it works, by name: `canary` is a task that went through the queue."""

    name = models.CharField(max_length=64, unique=True)
    beat_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} {self.beat_at}"
