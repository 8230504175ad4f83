from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class UploadState(models.TextChoices):
    FAILED = "failed", "not yet"
    DONE = "done", "uploaded"


class MemoryUpload(models.Model):
    """A local memory file that was brought to Honcho, once for a peer, or that could not be so far.

    It is not uploaded again where the file changes: from then on memory is Honcho's. See `honcho_app.migration`.
    """

    workspace = models.CharField(max_length=100)
    peer = models.CharField(max_length=100)
    name = models.CharField(max_length=32, help_text="The file's.")
    state = models.CharField(max_length=8, choices=UploadState)
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of what was uploaded.")
    facts = models.IntegerField(default=0, help_text="Conclusions that were made of it.")
    error = models.CharField(max_length=200, blank=True)
    tried_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "peer", "name"], name="upload_once_per_peer")]

    def __str__(self) -> str:
        return f"{self.name} for {self.peer}"
