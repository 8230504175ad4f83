from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Person(models.Model):
    """Somebody who was let in, or asked to be, as a platform knows them. It is a record and grants nothing."""

    platform = models.CharField(max_length=32)
    user_id = models.CharField(max_length=255)
    user_id_alt = models.CharField(max_length=255, blank=True, help_text="A second id that outlives the first.")
    name = models.CharField(max_length=255, blank=True)
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now(), help_text="To the day.")

    class Meta:
        verbose_name_plural = "people"
        constraints = [models.UniqueConstraint(fields=["platform", "user_id"], name="person_once")]
        indexes = [models.Index(fields=["platform", "user_id_alt"], name="person_alt")]

    def __str__(self) -> str:
        return self.name or f"{self.platform} {self.user_id}"
