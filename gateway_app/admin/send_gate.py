from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from gateway_app.delivery import gate
from gateway_app.duration import duration
from gateway_app.models import SendGate

from .base import ReadOnlyAdmin, label, note, when


@admin.register(SendGate)
class SendGateAdmin(ReadOnlyAdmin):
    list_display = ["platform", "account", "state", "until"]
    ordering = ["platform", "account"]
    fieldsets = [(None, {"fields": ["platform", "account", "state", "until"]})]
    actions = ["open_now"]

    @action(description="Open now and send what waits", permissions=["act"])
    def open_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        opened = 0
        for row in queryset:
            with transaction.atomic():
                if gate.open_now(gate_id=row.pk):
                    note(request, SendGate.objects.filter(pk=row.pk), "Opened the gate before its time.")
                    opened += 1
        if opened:
            self.message_user(request, f"Opened {opened} gate{'' if opened == 1 else 's'}.", messages.SUCCESS)
        else:
            self.message_user(request, "These gates are open already.", messages.WARNING)

    @display(description="State")
    def state(self, row: SendGate) -> SafeString:
        seconds = (row.closed_until - timezone.now()).total_seconds()
        return label(f"closed for {duration(seconds)}", "warning") if seconds > 0 else label("open", "success")

    @display(description="Closed until")
    def until(self, row: SendGate) -> SafeString | str:
        return when(row.closed_until)
