from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from gateway_app.models import MemoryFlush, Session
from gateway_app.sessions import flushes

from .base import COUNT_CAP, ReadOnlyAdmin, bounded_count, clamped, link, long_text, note, when


@admin.register(MemoryFlush)
class MemoryFlushAdmin(ReadOnlyAdmin):
    usual_state = "done"
    list_display = [
        "number", "state_label", "outcome", "session_link", "reason", "attempts", "created", "finished", "excerpt"
    ]  # fmt: skip
    list_filter = [("state", ChoicesDropdownFilter), ("outcome", ChoicesDropdownFilter)]
    actions = ["retry"]
    list_select_related = ["session"]
    search_fields = ["id"]
    search_help_text = "Session id, or key"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("state_label", "session_link"),
                    ("reason", "outcome"),
                    ("attempts", "next_attempt"),
                    ("created", "finished"),
                    ("model", "prompt_tokens", "completion_tokens"),
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

    @action(description="Retry those that were given up", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            retried = flushes.retry(ids=queryset.values_list("pk", flat=True)[:COUNT_CAP])
            if retried:
                note(request, MemoryFlush.objects.filter(pk__in=retried), "Had the flush tried again.")
        if retried:
            self.message_user(request, f"{len(retried):,} will be tried again.", messages.SUCCESS)
        if missed := bounded_count(queryset) - len(retried):
            self.message_user(
                request,
                f"{missed:,} left as they are: not given up (any more), or covered by one that waits.",
                messages.WARNING,
            )

    @display(description="Session")
    def session_link(self, row: MemoryFlush) -> SafeString | str:
        return link(Session, row.session_id, str(row.session))

    @display(description="Asked for")
    def created(self, row: MemoryFlush) -> SafeString | str:
        return when(row.created_at)

    @display(description="Next attempt")
    def next_attempt(self, row: MemoryFlush) -> SafeString | str:
        return when(row.next_attempt_at)

    @display(description="Finished")
    def finished(self, row: MemoryFlush) -> SafeString | str:
        return when(row.finished_at)

    @display(description="Error")
    def excerpt(self, row: MemoryFlush) -> SafeString:
        return clamped(row.error)

    @display(description="Error")
    def full_error(self, row: MemoryFlush) -> SafeString | str:
        return long_text(row.error)
