from __future__ import annotations

from django.contrib import admin
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display

from gateway_app.duration import duration
from gateway_app.models import Listener

from .base import ReadOnlyAdmin, clamped, label, long_text, when


@admin.register(Listener)
class ListenerAdmin(ReadOnlyAdmin):
    list_display = ["platform", "account", "lease", "owner", "polled", "error_excerpt"]
    ordering = ["platform", "account"]
    fieldsets = [
        (None, {"fields": [("platform", "account"), ("lease", "last_poll"), ("owner", "fence"), "full_error"]}),
    ]

    @display(description="Lease")
    def lease(self, row: Listener) -> SafeString:
        is_held = row.lease_until is not None and row.lease_until > timezone.now()
        return label("held", "success") if is_held else label("held by nobody", "danger")

    @display(description="Held by")
    def owner(self, row: Listener) -> str:
        return row.lease_owner or "–"

    @display(description="Last successful poll")
    def polled(self, row: Listener) -> str:
        if row.last_poll_at is None:
            return "never"
        return f"{duration((timezone.now() - row.last_poll_at).total_seconds())} ago"

    @display(description="Last successful poll")
    def last_poll(self, row: Listener) -> SafeString | str:
        return when(row.last_poll_at)

    @display(description="Error")
    def error_excerpt(self, row: Listener) -> SafeString:
        return clamped(row.error or "–")

    @display(description="Error")
    def full_error(self, row: Listener) -> SafeString | str:
        return long_text(row.error)
