from __future__ import annotations

from django.db import models


class Listener(models.Model):
    """The one live connection of a platform credential, held by a lease. See `gateway_app.platforms.lease`."""

    platform = models.CharField(max_length=32)
    account = models.CharField(max_length=128, blank=True)
    lease_owner = models.CharField(max_length=128, blank=True, db_default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.BigIntegerField(db_default=0)
    last_poll_at = models.DateTimeField(null=True, blank=True, help_text="Last successful poll.")
    error = models.TextField(blank=True, db_default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["platform", "account"], name="listener_once_per_credential")]

    def __str__(self) -> str:
        return f"{self.platform} {self.account}"
