from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class TurnState(models.TextChoices):
    RUNNING = "running", "running"
    PARKED = "parked", "waits for an answer"
    DONE = "done", "answered"
    FAILED = "failed", "answered with an error"
    STOPPED = "stopped", "stopped before its end"
    DEAD = "dead", "given up after its attempts"


OPEN_TURN_STATES = (TurnState.RUNNING, TurnState.PARKED)
"""Not ended; a session has one such turn at the most."""


class StopReason(models.TextChoices):
    """Why a running turn is to stop at its next checkpoint."""

    STOPPED = "stopped", "a person stopped it"
    INTERRUPTED = "interrupted", "a message interrupted it"


UNKNOWN_PREVIEW = "?"
"""The id of a preview whose send was begun, and of which nothing more is known."""


class Turn(models.Model):
    """One run of the agent: takes waiting messages of a session, ends with a reply or a recorded failure."""

    session = models.ForeignKey("Session", on_delete=models.CASCADE, related_name="turns")
    lane = models.ForeignKey("Lane", on_delete=models.PROTECT, related_name="turns", db_index=False)
    state = models.CharField(max_length=16, choices=TurnState, default=TurnState.RUNNING)
    attempts = models.IntegerField(default=1, help_text="How often a worker started it; more than one after a crash.")
    stop = models.CharField(
        max_length=16, choices=StopReason, blank=True, db_default="", help_text="Empty: nobody asked it to stop."
    )
    stop_by = models.CharField(max_length=255, blank=True, db_default="", help_text="The user id of who asked.")
    stop_asked_at = models.DateTimeField(null=True, blank=True)
    interrupts = models.IntegerField(
        db_default=0, help_text="Turns right before it that a message interrupted, in a row; at three it is not."
    )
    preview_id = models.CharField(
        max_length=255,
        blank=True,
        db_default="",
        help_text="The platform's id of the message that shows the reply while it is written; `?` until it is known.",
    )
    preview_seq = models.BigIntegerField(db_default=0, help_text="The newest place in the chat before the preview.")
    error_kind = models.CharField(max_length=64, blank=True, db_default="")
    error = models.TextField(blank=True, db_default="")
    model = models.CharField(max_length=128, blank=True, db_default="")
    prompt_tokens = models.IntegerField(db_default=0)
    completion_tokens = models.IntegerField(db_default=0)
    cached_tokens = models.IntegerField(
        db_default=0, help_text="Of the prompt's tokens, those that the model's server had in its cache."
    )
    cost_micros = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="In millionths of the currency of model.prices; empty where a price is missing.",
    )
    model_seconds = models.FloatField(db_default=0.0, help_text="Time spent waiting for the model, in seconds.")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["lane"], condition=models.Q(state__in=["running", "parked"]), name="turn_one_open_per_lane"
            )
        ]
        indexes = [
            models.Index(fields=["state", "id"], condition=~models.Q(state="done"), name="turn_not_done"),
            # What every worker asks for all the time, and nearly always empty.
            models.Index(fields=["id"], condition=models.Q(state="running") & ~models.Q(stop=""), name="turn_to_stop"),
        ]

    def __str__(self) -> str:
        return f"turn {self.pk}"

    @property
    def has_known_preview(self) -> bool:
        """Whether a message shows the turn's reply so far, and can be edited."""
        return self.preview_id not in ("", UNKNOWN_PREVIEW)


class StepKind(models.TextChoices):
    MODEL_REPLY = "model_reply", "model reply"
    TOOL_STARTED = "tool_started", "tool started"
    TOOL_RESULT = "tool_result", "tool result"
    STEERED = "steered", "messages that joined"
    RECALLED = "recalled", "memory beside the message"


class TurnStep(models.Model):
    """A turn's journal: what has happened and must not happen again when another worker takes the turn over."""

    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="steps", db_index=False)
    position = models.IntegerField()
    kind = models.CharField(max_length=16, choices=StepKind)
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["turn", "position"], name="step_once_per_turn")]
        ordering = ["turn", "position"]

    def __str__(self) -> str:
        return f"turn {self.turn_id} step {self.position}: {self.kind}"
