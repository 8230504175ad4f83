from __future__ import annotations

import secrets

from django.db import models
from django.db.models.functions import Now

from gateway_app.sessions.source import SessionSource


class QuestionKind(models.TextChoices):
    APPROVAL = "approval", "whether a tool may run"
    CLARIFY = "clarify", "what the person meant"


class QuestionState(models.TextChoices):
    PENDING = "pending", "waits for an answer"
    APPROVED = "approved", "approved"
    DENIED = "denied", "denied"
    ANSWERED = "answered", "answered"
    EXPIRED = "expired", "not answered in time"
    WITHDRAWN = "withdrawn", "withdrawn: the turn was stopped"


class QuestionDoor(models.TextChoices):
    """By which way the answer came."""

    CHAT = "chat", "chat"
    BUTTON = "button", "button"
    ADMIN = "admin", "admin"
    TIMEOUT = "timeout", "time-out"


class ApprovalScope(models.TextChoices):
    """How far an approval goes."""

    ONCE = "once", "this call"
    SESSION = "session", "this tool, in this conversation"
    ALWAYS = "always", "this tool, always"


LONGEST_ANSWER = 4_000
"""Characters of an answer, or of the reason of a denial, that are kept."""


def new_token() -> str:
    """What a button says of its question: nobody guesses it, though every press is checked anyway."""
    return secrets.token_urlsafe(16)


class Question(models.Model):
    """What a parked turn asks a person: whether one of its tool calls may run, or what they meant."""

    turn = models.ForeignKey("Turn", on_delete=models.CASCADE, related_name="questions", db_index=False)
    lane = models.ForeignKey("Lane", on_delete=models.PROTECT, related_name="questions", db_index=False)
    number = models.IntegerField(help_text="Counts the questions of the session key; people answer by it.")
    token = models.CharField(max_length=32, unique=True, default=new_token)
    kind = models.CharField(max_length=16, choices=QuestionKind)
    reply = models.IntegerField(help_text="Which of the turn's model replies made the call, from 1.")
    tool_call_id = models.CharField(max_length=255)
    tool = models.CharField(max_length=64)
    text = models.TextField(help_text="What is shown: the call's arguments without secrets, or the question.")
    choices = models.JSONField(default=list, help_text="Answers that are offered; others are taken too.")
    source = models.JSONField(help_text="Whose turn it is, and where: gateway_app.sessions.source.SessionSource.")
    state = models.CharField(max_length=16, choices=QuestionState, default=QuestionState.PENDING)
    scope = models.CharField(max_length=16, choices=ApprovalScope, blank=True, db_default="")
    answer = models.TextField(blank=True, db_default="", help_text="What was answered, or why it was denied.")
    door = models.CharField(max_length=16, choices=QuestionDoor, blank=True, db_default="")
    answered_by = models.CharField(max_length=255, blank=True, db_default="")
    is_audited = models.BooleanField(db_default=False)
    asked_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            # A call is asked about once, and an approval counts for no other: ids of calls may come again.
            models.UniqueConstraint(fields=["turn", "reply", "tool_call_id"], name="question_once_per_call"),
            models.UniqueConstraint(fields=["lane", "number"], name="question_one_number_in_lane"),
        ]
        indexes = [
            models.Index(fields=["lane", "number"], condition=models.Q(state="pending"), name="question_pending"),
        ]

    def __str__(self) -> str:
        return f"question {self.number} of turn {self.turn_id}"

    @property
    def message_key(self) -> str:
        """The name in the outbox of the message that asks."""
        return f"ask/{self.lane_id}/{self.number}"

    @property
    def name(self) -> str:
        """What people type to mean it: its number, or the id of the work in the background that asks."""
        return self.asked.background or str(self.number)

    @property
    def asked(self) -> SessionSource:
        """Whose turn it is, and where."""
        return SessionSource.from_json(self.source)


class ToolPermission(models.Model):
    """A person has said that a tool may run for them without asking: in one conversation, or always."""

    platform = models.CharField(max_length=32)
    account = models.CharField(max_length=128, blank=True)
    participant = models.CharField(max_length=255, help_text="The person's id on the platform.")
    session_id = models.CharField(
        max_length=64, blank=True, help_text="The conversation that it holds for; empty: all of them."
    )
    tool = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["platform", "account", "participant", "session_id", "tool"], name="tool_permission_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.tool} for {self.platform} {self.participant}"
