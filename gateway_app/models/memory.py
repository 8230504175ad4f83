from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

MOST_NOTES = 100
"""Notes of one person, or of one session: as many as a model can read at once and still find something in."""
LONGEST_NOTE = 500
"""Characters of a note: a fact or two. Documents belong elsewhere."""


class MemoryScope(models.TextChoices):
    USER = "user", "one person, in all their direct messages"
    SESSION = "session", "one session key"


class MemoryNote(models.Model):
    """Something that the agent noted down for later. It belongs to one person or to one session, never to more."""

    scope = models.CharField(max_length=8, choices=MemoryScope)
    owner = models.CharField(max_length=1024, help_text="The session key, or the person's platform, account and id.")
    place = models.SmallIntegerField(help_text="Its number among the owner's notes; a free one is used again.")
    text = models.CharField(max_length=LONGEST_NOTE)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scope", "owner", "place"], name="memory_note_one_in_its_place"),
            # The places are counted, and so are the notes, however many turns write at once.
            models.CheckConstraint(
                condition=models.Q(place__gte=1, place__lte=MOST_NOTES), name="memory_note_has_a_place"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.place}: {self.text[:60]}"
