from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from .session import EndReason


class FlushState(models.TextChoices):
    WAITING = "waiting", "waiting"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "given up"


class MemoryFlush(models.Model):
    """An obligation: what is worth remembering of a session that ended is yet to be saved.

    Written in the transaction that ends the session (`gateway_app.sessions.rotation`). A session that is ended again
    before its flush was carried out has one that waits, still.
    """

    session = models.ForeignKey("Session", on_delete=models.PROTECT, related_name="flushes")
    honcho_session_key = models.CharField(max_length=1024)
    reason = models.CharField(max_length=64, choices=EndReason)
    state = models.CharField(max_length=16, choices=FlushState, default=FlushState.WAITING)
    attempts = models.IntegerField(db_default=0)
    error = models.TextField(blank=True, db_default="")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "memory flushes"
        constraints = [
            models.UniqueConstraint(
                fields=["session"], condition=models.Q(state="waiting"), name="flush_one_waiting_per_session"
            )
        ]
        indexes = [
            models.Index(fields=["state", "id"], condition=~models.Q(state="done"), name="flush_not_done"),
        ]

    def __str__(self) -> str:
        return f"flush {self.pk}"
