from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class PairingState(models.TextChoices):
    PENDING = "pending", "waits for a decision"
    APPROVED = "approved", "approved"
    DENIED = "denied", "denied"
    EXPIRED = "expired", "expired"
    CLEARED = "cleared", "cleared by an operator"
    TURNED_AWAY = "turned_away", "told that too many wait"


class PairingRequest(models.Model):
    """An unknown person who wrote a direct message and got a code. What they wrote is not kept."""

    platform = models.CharField(max_length=32)
    account = models.CharField(max_length=128, blank=True)
    chat_id = models.CharField(max_length=255)
    thread_id = models.CharField(max_length=255, blank=True)
    user_id = models.CharField(max_length=255)
    user_id_alt = models.CharField(max_length=255, blank=True)
    user_name = models.CharField(max_length=255, blank=True, help_text="As the person calls themselves.")
    message_id = models.CharField(max_length=255, blank=True)
    message_chars = models.IntegerField(default=0, help_text="Length of the first message.")
    code_salt = models.CharField(max_length=32, blank=True)
    code_hash = models.CharField(max_length=64, blank=True, help_text="Salted; the code itself is kept nowhere.")
    state = models.CharField(max_length=16, choices=PairingState, default=PairingState.PENDING)
    requested_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=150, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["platform", "user_id"], condition=models.Q(state="pending"), name="pairing_one_pending"
            )
        ]
        indexes = [
            models.Index(
                fields=["platform", "requested_at"], condition=models.Q(state="pending"), name="pairing_pending"
            ),
            models.Index(fields=["platform", "user_id", "-requested_at"], name="pairing_of_person"),
        ]

    def __str__(self) -> str:
        return f"{self.platform} {self.user_id} {self.user_name}".strip()


class PairingGuard(models.Model):
    """A platform's count of wrong codes, and the lock-out after too many; locked by whoever asks or approves."""

    platform = models.CharField(max_length=32, unique=True)
    failures = models.IntegerField(default=0)
    locked_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"pairing on {self.platform}"
