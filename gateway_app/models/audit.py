from __future__ import annotations

from django.db import models


class Door(models.TextChoices):
    """The way by which a change came in."""

    ADMIN = "admin", "admin"
    COMMAND_LINE = "command_line", "command line"
    CHAT = "chat", "chat"
    BUTTON = "button", "button"
    CONFIGURATION = "configuration", "configuration"
    SYSTEM = "system", "system"
    TIMEOUT = "timeout", "time-out"


class AuditAction(models.TextChoices):
    PAIRING_REQUESTED = "pairing_requested", "pairing requested"
    PAIRING_APPROVED = "pairing_approved", "pairing approved"
    PAIRING_DENIED = "pairing_denied", "pairing denied"
    PAIRING_CLEARED = "pairing_cleared", "pairing cleared"
    PAIRING_EXPIRED = "pairing_expired", "pairing expired"
    PAIRING_LOCKED = "pairing_locked", "pairing locked"
    RULE_ADDED = "rule_added", "rule added"
    RULE_CHANGED = "rule_changed", "rule changed"
    RULE_REMOVED = "rule_removed", "rule removed"
    RULE_EXPIRED = "rule_expired", "rule expired"
    ROLE_CHANGED = "role_changed", "role changed"
    TOOL_APPROVED = "tool_approved", "tool call approved"
    TOOL_DENIED = "tool_denied", "tool call denied"
    TOOL_EXPIRED = "tool_expired", "tool call not approved in time"
    PERMISSION_REMOVED = "permission_removed", "tool permission removed"
    CONFIGURATION_CHANGED = "configuration_changed", "configuration changed"
    HOME_CHANGED = "home_changed", "home channel changed"
    MEMORY_FORGOTTEN = "memory_forgotten", "memory forgotten"


class AuditEntry(models.Model):
    """One change of access. Rows are only ever added: triggers of the database refuse everything else.

    `id` counts from 1 without a gap, and each row's hash covers the one before it.
    """

    id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    door = models.CharField(max_length=16, choices=Door)
    action = models.CharField(max_length=32, choices=AuditAction)
    platform = models.CharField(max_length=32, blank=True)
    subject = models.CharField(max_length=255, help_text="Whom or what the change is about: an id, or a setting.")
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    reason = models.TextField(blank=True)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["platform", "subject"], name="audit_subject"),
            models.Index(fields=["action", "id"], name="audit_action"),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.platform} {self.subject}".strip()
