from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.decorators import display

from gateway_app.models import Channel

from .base import PlatformFilter, ReadOnlyAdmin, when


@admin.register(Channel)
class ChannelAdmin(ReadOnlyAdmin):
    list_display = ["title", "platform", "account", "chat_type", "chat_id", "thread_id", "first_seen"]
    list_filter = [PlatformFilter]
    search_fields = ["chat_id__exact", "name__istartswith"]
    search_help_text = "Chat id, or the beginning of the name"
    fieldsets = [
        (None, {"fields": ["name", "platform", "account", "chat_type", "chat_id", "thread_id", "first_seen"]}),
    ]

    @display(description="Channel")
    def title(self, row: Channel) -> str:
        return str(row)

    @display(description="First seen")
    def first_seen(self, row: Channel) -> SafeString | str:
        return when(row.first_seen_at)
