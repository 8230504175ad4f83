from __future__ import annotations

from django.contrib import admin
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display

from gateway_app.duration import duration
from gateway_app.models import Heartbeat

from .base import ReadOnlyAdmin, when


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    list_display = ["name", "beat", "age"]
    ordering = ["name"]
    fieldsets = [(None, {"fields": ["name", "beat", "age"]})]

    @display(description="Last beat")
    def beat(self, row: Heartbeat) -> SafeString | str:
        return when(row.beat_at)

    @display(description="Age")
    def age(self, row: Heartbeat) -> str:
        return f"{duration((timezone.now() - row.beat_at).total_seconds())} ago"
