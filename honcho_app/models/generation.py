from __future__ import annotations

from django.db import models


class MemoryGeneration(models.Model):
    """Which Honcho session a key stands for now, where the first one was deleted. See `honcho_app.generations`."""

    honcho_session_key = models.CharField(max_length=1024, unique=True)
    generation = models.PositiveIntegerField(default=1)

    def __str__(self) -> str:
        return f"{self.honcho_session_key} ({self.generation})"
