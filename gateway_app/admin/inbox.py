from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from gateway_app import dead_letters
from gateway_app.models import InboundMessage, Listener
from gateway_app.platforms import registry

from .base import PlatformFilter, clamped, long_text, pretty_json, shorten, when
from .dead_letter import DeadLetterAdmin


@admin.register(InboundMessage)
class InboundAdmin(DeadLetterAdmin):
    replay_rows = dead_letters.replay_inbound
    discard_rows = dead_letters.discard_inbound
    excerpt_of = "text"
    usual_state = "done"
    list_display = ["number", "state_label", "platform", "person", "excerpt", "accepted", "turn_link", "why_excerpt"]
    list_filter = [("state", ChoicesDropdownFilter), PlatformFilter]
    search_fields = ["id"]
    search_help_text = "Number, or the platform's event id"
    fieldsets = [
        (None, {"fields": [("state_label", "turn_link"), "full_text", "full_reason"]}),
        ("From", {"fields": [("platform", "account"), ("event_id", "message_id"), "origin"]}),
        ("Road", {"fields": [("accepted", "finished"), ("lane_link", "seq", "busy_mode")]}),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Looks for event ids account by account, as the index on them is made."""
        if not search_term:
            return queryset, False
        accounts = {"", *Listener.objects.values_list("account", flat=True)}
        wanted = Q(platform__in=registry.names(), account__in=accounts, event_id=search_term)
        if search_term.isascii() and search_term.isdigit() and len(search_term) <= 18:
            wanted |= Q(pk=int(search_term))
        return queryset.filter(wanted), False

    def why(self, row: InboundMessage) -> str:
        return row.reason

    @display(description="From")
    def person(self, row: InboundMessage) -> str:
        return shorten(str(row.source.get("user_name") or row.user_id or "–"), length=40)

    @display(description="From")
    def origin(self, row: InboundMessage) -> SafeString:
        return pretty_json(row.source)

    @display(description="Accepted")
    def accepted(self, row: InboundMessage) -> SafeString | str:
        return when(row.accepted_at)

    @display(description="Finished")
    def finished(self, row: InboundMessage) -> SafeString | str:
        return when(row.finished_at)

    @display(description="Reason")
    def why_excerpt(self, row: InboundMessage) -> SafeString:
        return clamped(row.reason)

    @display(description="Reason")
    def full_reason(self, row: InboundMessage) -> SafeString | str:
        return long_text(row.reason)
