from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class FlushReason(models.TextChoices):
    """Why a session's memory is flushed: how it was ended (`EndReason`), or that the clock will end it soon."""

    RESET = "session_reset", "a new one was asked for"
    SWITCH = "session_switch", "another one was gone on with"
    IDLE = "idle", "nothing was said for long"
    DAILY = "daily", "the daily reset"
    SOON = "expires_soon", "the clock ends it soon"


class FlushState(models.TextChoices):
    WAITING = "waiting", "waiting"
    RUNNING = "running", "running"
    RETRYING = "retrying", "waits for its next attempt"
    DONE = "done", "done"
    FAILED = "failed", "given up"


class FlushOutcome(models.TextChoices):
    """What the agent's part of a flush came to."""

    SAVED = "saved", "the agent went through it"
    TOO_SHORT = "too_short", "too little was said"
    NOTHING_NEW = "nothing_new", "an earlier flush covers it"
    NO_MODEL = "no_model", "only the demonstration model is there"
    NO_TOOLS = "no_tools", "no tool of the memory is switched on"
    FORGOTTEN = "forgotten", "the person was forgotten"


class MemoryFlush(models.Model):
    """An obligation: what is worth remembering of a session that ended, or ends soon, is yet to be saved.

    Written in the transaction that ends the session (`gateway_app.sessions.rotation`). A session that is ended again
    before its flush was carried out has one that waits, still. Carried out under a lease and a fence of its own
    (`gateway_app.sessions.flushes`).
    """

    session = models.ForeignKey("Session", on_delete=models.PROTECT, related_name="flushes")
    honcho_session_key = models.CharField(max_length=1024)
    reason = models.CharField(max_length=64, choices=FlushReason)
    state = models.CharField(max_length=16, choices=FlushState, default=FlushState.WAITING)
    outcome = models.CharField(
        max_length=16,
        choices=FlushOutcome,
        blank=True,
        db_default="",
        help_text="Empty until the agent's part is done, which is not done again.",
    )
    attempts = models.IntegerField(db_default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    fence = models.IntegerField(db_default=0, help_text="Raised by each claim.")
    lease_until = models.DateTimeField(null=True, blank=True, help_text="Whoever carries it out has it until then.")
    last_message = models.BigIntegerField(
        db_default=0, help_text="The session's newest message when it was begun; 0 where there was none."
    )
    model = models.CharField(max_length=128, blank=True, db_default="")
    prompt_tokens = models.IntegerField(db_default=0)
    completion_tokens = models.IntegerField(db_default=0)
    error = models.TextField(blank=True, db_default="")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "memory flushes"
        constraints = [
            models.UniqueConstraint(
                fields=["session"], condition=models.Q(state="waiting"), name="flush_one_waiting_per_session"
            ),
            # Each adds to what those before it saved, and reads that first.
            models.UniqueConstraint(
                fields=["honcho_session_key"],
                condition=models.Q(state__in=["running", "retrying"]),
                name="flush_one_under_way_per_key",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "id"], condition=~models.Q(state="done"), name="flush_not_done"),
            models.Index(fields=["finished_at"], condition=models.Q(state="done"), name="flush_done"),
        ]

    def __str__(self) -> str:
        return f"flush {self.pk}"


class FlushStep(models.Model):
    """A flush's journal, as a turn's (`TurnStep`): what has happened and must not happen again. Dropped at its end."""

    flush = models.ForeignKey(MemoryFlush, on_delete=models.CASCADE, related_name="steps", db_index=False)
    position = models.IntegerField()
    kind = models.CharField(max_length=16)
    payload = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["flush", "position"], name="flush_step_once")]

    def __str__(self) -> str:
        return f"flush {self.flush_id} step {self.position}: {self.kind}"
