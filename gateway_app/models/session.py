from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class EndReason(models.TextChoices):
    """Why a session was ended. It is only put aside: all that was said in it stays, and it can be resumed."""

    RESET = "session_reset", "a new one was asked for"
    SWITCH = "session_switch", "another one was gone on with"
    IDLE = "idle", "nothing was said for long"
    DAILY = "daily", "the daily reset"


class Session(models.Model):
    """One conversation as the model sees it. A session key has one open session at a time; a reset ends it.

    Written only by `gateway_app.sessions`; it is ended only together with a `MemoryFlush`.
    """

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
    end_reason = models.CharField(max_length=64, blank=True, choices=EndReason, db_default="")
    ended_by = models.CharField(max_length=255, blank=True, db_default="", help_text="A person's id, or the clock.")
    resumed_at = models.DateTimeField(null=True, blank=True, help_text="When it was last opened again.")
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="children",
        help_text="The session that it followed, or branched off.",
    )
    inherited = models.JSONField(
        null=True, blank=True, help_text="What a branch starts from: gateway_app.sessions.lineage.Part, newest first."
    )
    untold_reset = models.CharField(
        max_length=16, blank=True, db_default="", help_text="The reset by the clock that nobody was told of yet."
    )
    overrides = models.JSONField(
        null=True,
        blank=True,
        help_text="What its people chose to be different in it: gateway_app.sessions.overrides.Overrides.",
    )
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

    flushed_until = models.BigIntegerField(
        db_default=0, help_text="Its newest message of which what is worth remembering was saved; 0: none."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session_id"], name="session_id_once"),
            models.UniqueConstraint(
                fields=["session_key"], condition=models.Q(ended_at__isnull=True), name="session_one_open_per_key"
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=False) | models.Q(end_reason=""), name="session_open_has_no_end"
            ),
        ]
        # No index of the open ones by `id`: PostgreSQL plans a statement once, and while the table is new it takes
        # that one, the smallest; later on it reads all open sessions then, to find that of a key.
        indexes = [
            models.Index(fields=["platform", "account", "chat_id"], name="session_chat"),
            models.Index(fields=["session_key", "-id"], name="session_newest_of_key"),
            models.Index(fields=["platform", "user_id"], name="session_person"),
        ]

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
    undo = models.ForeignKey(
        "Undo",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="messages",
        db_index=False,
        help_text="What took it out of the model's view; it stays here.",
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(fields=["session", "-id"], name="transcript_newest_first"),
            models.Index(fields=["undo"], condition=models.Q(undo__isnull=False), name="transcript_undone"),
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.content[:60]}"


class UndoKind(models.TextChoices):
    UNDO = "undo", "undone"
    RETRY = "retry", "asked again"


class Undo(models.Model):
    """The newest exchanges of a session were taken out of the model's view: by whom, when, and how to put them back."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="undos")
    kind = models.CharField(max_length=16, choices=UndoKind, default=UndoKind.UNDO)
    user_id = models.CharField(max_length=255, blank=True, help_text="Who did it.")
    user_name = models.CharField(max_length=255, blank=True)
    exchanges = models.IntegerField(help_text="Messages of people that were undone, each with all that followed it.")
    last_message = models.BigIntegerField(help_text="The session's newest message at that time; 0 where it had none.")
    inherited = models.JSONField(null=True, blank=True, help_text="What a branch started from before, if it lost some.")
    undone_at = models.DateTimeField(db_default=Now())
    redone_at = models.DateTimeField(null=True, blank=True, help_text="When it was put back.")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} by {self.user_name or self.user_id}"
