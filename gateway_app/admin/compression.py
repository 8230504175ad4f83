from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.decorators import display

from gateway_app.models import Compression

from .base import ReadOnlyAdmin, clamped, when


@admin.register(Compression)
class CompressionAdmin(ReadOnlyAdmin):
    list_display = ["shown", "session", "model", "prompt_tokens", "completion_tokens", "is_void", "created"]
    list_select_related = ["session"]
    search_fields = ["session__session_id__exact"]
    search_help_text = "Session id"
    ordering = ["-id"]
    fieldsets = [
        (
            None,
            {"fields": ["session", "summary", ("head_until", "last_message", "pruned_until"), "is_void", "created"]},
        ),
        ("Cost", {"fields": [("model", "prompt_tokens", "completion_tokens")]}),
    ]

    @display(description="Summary")
    def shown(self, row: Compression) -> SafeString:
        return clamped(str(row))

    @display(description="Written")
    def created(self, row: Compression) -> SafeString | str:
        return when(row.created_at)
