from __future__ import annotations

import re
from typing import Any

from django.contrib import admin
from django.db.models import CharField, QuerySet, Value
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from gateway_app.models import TranscriptMessage
from gateway_app.sessions import search

from .base import ReadOnlyAdmin, label, shorten, when

FOUND = 500
"""Messages that a search finds at most, best first; the list shows them newest first."""
BEFORE, AFTER = 60, 140
"""Characters of a found message that are shown before and after its first hit."""


@admin.register(TranscriptMessage)
class TranscriptAdmin(ReadOnlyAdmin):
    """Search in all that was said. A message opens in its session."""

    list_display = ["said_at", "role_label", "passage", "session_name"]
    list_filter = [("role", ChoicesDropdownFilter)]
    list_select_related = ["session"]
    search_fields = ["content"]
    search_help_text = "Words that all occur in a message"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(query=Value("", output_field=CharField()))
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        found = [message.pk for message in search.find(query=search_term, limit=FOUND)]
        return queryset.filter(pk__in=found).annotate(query=Value(search_term, output_field=CharField())), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        extra = {"title": "Search in conversations", **(extra_context or {})}
        response: HttpResponse = super().changelist_view(request, extra)
        return response

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        message = self.get_object(request, object_id)
        if message is None:
            missing: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            return missing
        url = reverse("admin:gateway_app_session_change", args=[message.session_id])
        return HttpResponseRedirect(f"{url}?start={message.pk}#message-{message.pk}")

    @display(description="When")
    def said_at(self, row: TranscriptMessage) -> SafeString | str:
        return when(row.created_at)

    @display(description="Who")
    def role_label(self, row: TranscriptMessage) -> SafeString:
        return label(row.get_role_display(), {"user": "info", "assistant": "primary"}.get(row.role, ""))

    @display(description="Session")
    def session_name(self, row: TranscriptMessage) -> str:
        return row.session.user_name or str(row.session)

    @display(description="Message")
    def passage(self, row: Any) -> SafeString:
        return format_html('<div class="hermes-excerpt">{}</div>', passage(row.content, query=row.query))


def passage(text: str, *, query: str) -> SafeString:
    """What stands around the first hit, with all hits in it marked; the beginning where there is none."""
    words = re.findall(r"\w+", query)
    pattern = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in words), re.IGNORECASE) if words else None
    hit = pattern.search(text) if pattern else None
    start = max(0, hit.start() - BEFORE) if hit else 0
    line = ("…" if start else "") + shorten(text[start : start + BEFORE + AFTER + 1], length=BEFORE + AFTER)
    if not pattern:
        return format_html("{}", line)
    pieces = re.split(f"({pattern.pattern})", line, flags=re.IGNORECASE)
    return format_html_join(
        "",
        "{}{}",
        ((piece, "") if n % 2 == 0 else (format_html("<mark>{}</mark>", piece), "") for n, piece in enumerate(pieces)),
    )
