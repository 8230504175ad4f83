from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Effect(models.TextChoices):
    ALLOW = "allow", "allow"
    DENY = "deny", "deny"


class SubjectKind(models.TextChoices):
    USER = "user", "person"
    CHAT = "chat", "chat"


class Origin(models.TextChoices):
    MANUAL = "manual", "written by an operator"
    PAIRING = "pairing", "a pairing that was approved"


class AccessRule(models.Model):
    """One allowance or ban of a person or a chat, beside the lists of the configuration.

    Written only by `gateway_app.access.rules` and `.pairing`, together with its audit row. A rule that was taken
    back stays as inactive, so that processes which follow the table by `version` learn of it.
    """

    effect = models.CharField(max_length=8, choices=Effect)
    subject = models.CharField(max_length=8, choices=SubjectKind)
    platform = models.CharField(max_length=32, blank=True, help_text="Empty: every platform.")
    subject_id = models.CharField(max_length=255, help_text="The platform's id; * is everybody, or every group.")
    name = models.CharField(max_length=255, blank=True, help_text="For people to read. It decides nothing.")
    note = models.TextField(blank=True)
    origin = models.CharField(max_length=16, choices=Origin, default=Origin.MANUAL)
    expires_at = models.DateTimeField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    version = models.BigIntegerField(help_text="The version of all access that this row's last change made.")
    created_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["effect", "subject", "platform", "subject_id"], name="rule_once"),
            models.CheckConstraint(condition=~models.Q(subject_id=""), name="rule_names_a_subject"),
            models.CheckConstraint(
                condition=models.Q(subject="user") | ~models.Q(platform=""), name="rule_of_a_chat_names_its_platform"
            ),
        ]
        indexes = [
            models.Index(fields=["version"], name="rule_version"),
            models.Index(fields=["expires_at"], condition=models.Q(is_active=True), name="rule_expiry"),
        ]

    def __str__(self) -> str:
        where = self.platform or "any platform"
        return f"{self.effect} {self.get_subject_display()} {self.subject_id} on {where}"


class AccessState(models.Model):
    """The one row that every change of access locks: its version, and the head of the audit chain."""

    ONLY = 1

    epoch = models.CharField(max_length=32, help_text="Another one after the table was emptied or restored.")
    version = models.BigIntegerField(default=0)
    audit_count = models.BigIntegerField(default=0)
    audit_hash = models.CharField(max_length=64, blank=True)
    configuration = models.JSONField(default=dict, help_text="What the configuration last said about access.")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="access_state_is_one_row")]

    def __str__(self) -> str:
        return f"access version {self.version}"
