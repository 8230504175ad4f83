from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Session(models.Model):
    """One conversation as the model sees it. A session key has one open session at a time; a reset ends it."""

    session_id = models.CharField(max_length=64)
    session_key = models.CharField(max_length=1024)
    platform = models.CharField(max_length=32)
    account = models.CharField(max_length=128, blank=True)
    chat_id = models.CharField(max_length=255, blank=True)
    chat_type = models.CharField(max_length=16)
    thread_id = models.CharField(max_length=255, blank=True)
    user_id = models.CharField(max_length=255, blank=True)
    user_name = models.CharField(max_length=255, blank=True)
    title = models.CharField(max_length=255, blank=True, db_default="")
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=64, blank=True, db_default="")
    prompt = models.TextField(blank=True, db_default="", help_text="The system prompt, sent with every turn as it is.")
    prompt_hash = models.CharField(
        max_length=64, blank=True, db_default="", help_text="Of what the prompt was made from."
    )
    compression = models.ForeignKey(
        "Compression",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
        help_text="How the model gets the older messages.",
    )
    compression_fence = models.IntegerField(db_default=0, help_text="Raised by each start of a compression.")
    compression_lease_until = models.DateTimeField(null=True, blank=True, help_text="One is under way until then.")
    compression_not_before = models.DateTimeField(
        null=True, blank=True, help_text="One came to nothing a while ago; the next begins no earlier by itself."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session_id"], name="session_id_once"),
            models.UniqueConstraint(
                fields=["session_key"], condition=models.Q(ended_at__isnull=True), name="session_one_open_per_key"
            ),
        ]
        indexes = [models.Index(fields=["platform", "account", "chat_id"], name="session_chat")]

    def __str__(self) -> str:
        return self.title or self.session_id


class TranscriptRole(models.TextChoices):
    USER = "user", "person"
    ASSISTANT = "assistant", "agent"
    TOOL = "tool", "tool result"


class TranscriptMessage(models.Model):
    """One message of a session's transcript, in the order the model saw it (`id`)."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="transcript", db_index=False)
    turn = models.ForeignKey(
        "Turn", null=True, blank=True, on_delete=models.SET_NULL, related_name="transcript", db_index=False
    )
    role = models.CharField(max_length=16, choices=TranscriptRole)
    content = models.TextField(blank=True)
    user_id = models.CharField(max_length=255, blank=True, help_text="Who wrote it, where a person did.")
    tool_calls = models.JSONField(null=True, blank=True)
    tool_call_id = models.CharField(max_length=255, blank=True)
    tokens = models.IntegerField(default=0, help_text="Estimated; decides how much history fits the model's budget.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["session", "-id"], name="transcript_newest_first")]

    def __str__(self) -> str:
        return f"{self.role}: {self.content[:60]}"
