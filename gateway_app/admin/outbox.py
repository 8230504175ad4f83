from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from gateway_app import dead_letters
from gateway_app.models import OutboundPart
from gateway_app.sealing import PLACEHOLDER

from .base import PlatformFilter, clamped, long_text, shorten, when
from .dead_letter import REPLAY, DeadLetterAdmin, Deed


@admin.register(OutboundPart)
class OutboundAdmin(DeadLetterAdmin):
    replay_rows = dead_letters.replay_outbound
    discard_rows = dead_letters.discard_outbound
    excerpt_of = "text"
    usual_state = "sent"
    list_display = [
        "number",
        "state_label",
        "platform",
        "chat",
        "excerpt",
        "tries",
        "finished",
        "turn_link",
        "why_excerpt",
    ]
    list_filter = [("state", ChoicesDropdownFilter), PlatformFilter]
    search_fields = ["id"]
    search_help_text = "Number, or idempotency key"
    fieldsets = [
        (None, {"fields": [("state_label", "turn_link"), "full_text", "full_error"]}),
        ("To", {"fields": [("platform", "account"), ("chat_id", "thread_id"), ("reply_to", "platform_message_id")]}),
        ("Attempts", {"fields": [("attempts", "unknown_outcomes"), ("next_attempt", "idempotency_key")]}),
        ("Road", {"fields": [("created", "finished"), ("lane_link", "seq")]}),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        wanted = Q(idempotency_key=search_term)
        if search_term.isascii() and search_term.isdigit() and len(search_term) <= 18:
            wanted |= Q(pk=int(search_term))
        return queryset.filter(wanted), False

    def why(self, row: OutboundPart) -> str:
        return row.error

    def concerned(self, rows: QuerySet[Any], deed: Deed) -> QuerySet[Any]:
        dead = super().concerned(rows, deed)
        # A secret was erased when it was given up: there is nothing to send again.
        return dead.filter(is_sealed=False) if deed is REPLAY else dead

    @display(description="Text")
    def excerpt(self, row: OutboundPart) -> SafeString:
        return clamped(PLACEHOLDER) if row.is_sealed else super().excerpt(row)

    @display(description="Text")
    def full_text(self, row: OutboundPart) -> SafeString | str:
        return long_text(row.shown_text)

    @display(description="Chat")
    def chat(self, row: OutboundPart) -> str:
        return shorten(row.chat_id, length=40)

    @display(description="Tries")
    def tries(self, row: OutboundPart) -> str:
        return f"{row.attempts} ({row.unknown_outcomes} unknown)" if row.unknown_outcomes else str(row.attempts)

    @display(description="Next attempt")
    def next_attempt(self, row: OutboundPart) -> SafeString | str:
        return when(row.next_attempt_at)

    @display(description="Created")
    def created(self, row: OutboundPart) -> SafeString | str:
        return when(row.created_at)

    @display(description="Finished")
    def finished(self, row: OutboundPart) -> SafeString | str:
        return when(row.finished_at)

    @display(description="Error")
    def why_excerpt(self, row: OutboundPart) -> SafeString:
        return clamped(row.error)

    @display(description="Error")
    def full_error(self, row: OutboundPart) -> SafeString | str:
        return long_text(row.error)
