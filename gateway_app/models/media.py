from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from gateway_app.media.attachment import Kind


class MediaFile(models.Model):
    """A file that was sent in a session. Its bytes are in the media storage until it expires; the row stays."""

    reference = models.CharField(max_length=32, help_text="Names it for the model and in addresses; not to be guessed.")
    session_key = models.CharField(max_length=1024, help_text="The only sessions that may have it.")
    platform = models.CharField(max_length=32)
    user_id = models.CharField(max_length=255, blank=True, help_text="Who sent it, or whom the agent answered with it.")
    name = models.CharField(max_length=255, help_text="For people; no path is made of it.")
    kind = models.CharField(max_length=16, choices=[(kind.value, kind.value) for kind in Kind])
    content_type = models.CharField(max_length=127, help_text="By its first bytes, whatever was claimed.")
    size = models.BigIntegerField(help_text="Bytes.")
    sha256 = models.CharField(max_length=64)
    stored_as = models.CharField(max_length=255, help_text="Its name in the media storage.")
    transcript = models.TextField(null=True, blank=True, help_text="What is said in it, once that was written down.")
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True, help_text="When the bytes were let go of.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["reference"], name="media_reference_once")]
        indexes = [
            models.Index(fields=["expires_at"], condition=models.Q(removed_at__isnull=True), name="media_kept"),
            models.Index(
                fields=["platform", "user_id"], condition=models.Q(removed_at__isnull=True), name="media_of_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class VoiceMode(models.TextChoices):
    """When answers are spoken as well."""

    ON = "on", "answers to voice messages"
    ALL = "all", "all answers"


class VoiceChoice(models.Model):
    """The conversations whose answers are spoken; one that has no row gets text alone."""

    session_key = models.CharField(max_length=1024)
    mode = models.CharField(max_length=8, choices=VoiceMode)
    chosen_by = models.CharField(max_length=255, blank=True)
    chosen_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["session_key"], name="voice_once_per_session_key")]

    def __str__(self) -> str:
        return f"{self.session_key}: {self.mode}"
