from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from gateway_app.models import MemoryFlush, Session

from .base import ReadOnlyAdmin, clamped, link, long_text, when


@admin.register(MemoryFlush)
class MemoryFlushAdmin(ReadOnlyAdmin):
    usual_state = "done"
    list_display = ["number", "state_label", "session_link", "reason", "attempts", "created", "finished", "excerpt"]
    list_filter = [("state", ChoicesDropdownFilter)]
    list_select_related = ["session"]
    search_fields = ["id"]
    search_help_text = "Session id, or key"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("state_label", "session_link"),
                    ("reason", "attempts"),
                    ("created", "finished"),
                    "honcho_session_key",
                    "full_error",
                ]
            },
        )
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        sessions = Session.objects.filter(Q(session_id=search_term) | Q(session_key=search_term))
        return queryset.filter(session__in=sessions), False

    @display(description="Session")
    def session_link(self, row: MemoryFlush) -> SafeString | str:
        return link(Session, row.session_id, str(row.session))

    @display(description="Asked for")
    def created(self, row: MemoryFlush) -> SafeString | str:
        return when(row.created_at)

    @display(description="Finished")
    def finished(self, row: MemoryFlush) -> SafeString | str:
        return when(row.finished_at)

    @display(description="Error")
    def excerpt(self, row: MemoryFlush) -> SafeString:
        return clamped(row.error)

    @display(description="Error")
    def full_error(self, row: MemoryFlush) -> SafeString | str:
        return long_text(row.error)
