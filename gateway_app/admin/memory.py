from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from gateway_app.models import MemoryNote

from .base import ReadOnlyAdmin, clamped, when


@admin.register(MemoryNote)
class MemoryNoteAdmin(ReadOnlyAdmin):
    list_display = ["note", "scope", "owner", "updated"]
    list_filter = [("scope", ChoicesDropdownFilter)]
    search_fields = ["owner__exact"]
    search_help_text = "Session key, or platform:account:user id"
    ordering = ["-id"]
    fieldsets = [(None, {"fields": ["scope", "owner", "place", "text", "created", "updated"]})]

    @display(description="Note")
    def note(self, row: MemoryNote) -> SafeString:
        return clamped(row.text)

    @display(description="Noted")
    def created(self, row: MemoryNote) -> SafeString | str:
        return when(row.created_at)

    @display(description="Changed")
    def updated(self, row: MemoryNote) -> SafeString | str:
        return when(row.updated_at)
