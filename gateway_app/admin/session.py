from __future__ import annotations

import contextlib
import json
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display

from gateway_app.models import Session, TranscriptMessage
from gateway_app.sessions import lineage, search, transcript

from .base import PlatformFilter, ReadOnlyAdmin, link, pretty_json, shorten, when

CHILDREN = 20
"""Sessions that followed one or branched off, newest first."""
FOUND = 200
"""Messages that a search for words looks at, best first."""
SHOWN_CHARS = 4_000
"""Characters of a message that are shown at once; the rest is a click away."""


class OpenFilter(DropdownFilter):  # type: ignore[misc]
    title = "state"
    parameter_name = "is_open"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("yes", "open"), ("no", "ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(ended_at__isnull=self.value() == "yes") if self.value() else queryset


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    change_form_template = "gateway_app/admin/session.html"
    list_display = ["name", "platform", "chat_type", "person", "started", "ended", "end_reason"]
    list_filter = [OpenFilter, PlatformFilter, ("end_reason", ChoicesDropdownFilter)]
    search_fields = ["session_id"]
    search_help_text = "Words said, a session id, chat or person"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("person", "started"),
                    ("platform", "chat_type"),
                    ("chat_id", "ended"),
                    ("came_from", "why_ended"),
                    "led_to",
                ]
            },
        ),
        (
            "More",
            {
                "fields": [("session_id", "resumed"), ("account", "thread_id"), "session_key"],
                "classes": ["collapse"],
            },
        ),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        wanted = Q(session_id=search_term) | Q(session_key__startswith=search_term) | Q(chat_id=search_term)
        wanted |= Q(user_id=search_term) | Q(user_name__istartswith=search_term) | Q(title__istartswith=search_term)
        if may_read(request):
            wanted |= Q(pk__in={message.session_id for message in search.find(query=search_term, limit=FOUND)})
        return queryset.filter(wanted), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        extra = {**(extra_context or {}), "may_read": may_read(request)}
        session = self.get_object(request, object_id)
        if session and may_read(request):
            page = transcript.read(
                session_pk=session.pk, before=_number(request, "before"), start=_number(request, "start")
            )
            extra |= {"page": page, "bubbles": [bubble(message) for message in page.messages]}
        response: HttpResponse = super().change_view(request, object_id, form_url, extra)
        return response

    @display(description="Session")
    def name(self, row: Session) -> str:
        return shorten(str(row), length=60)

    @display(description="Person")
    def person(self, row: Session) -> str:
        return row.user_name or row.user_id or f"everybody in {row.chat_id}"

    @display(description="Came from")
    def came_from(self, row: Session) -> SafeString | str:
        if row.parent is None:
            return "–"
        parent, parts = link(Session, row.parent.pk, str(row.parent)), lineage.read(row.inherited)
        if parts:
            return format_html("{}, a branch of it up to message #{}", parent, parts[0].last_message)
        return format_html("{}, which it followed", parent)

    @display(description="Led to")
    def led_to(self, row: Session) -> SafeString | str:
        children = list(row.children.order_by("-id")[:CHILDREN])
        return format_html_join(", ", "{}", ((link(Session, child.pk, str(child)),) for child in children)) or "–"

    @display(description="Why it ended")
    def why_ended(self, row: Session) -> str:
        return f"{row.get_end_reason_display()}, by {row.ended_by}" if row.end_reason else "–"

    @display(description="Resumed")
    def resumed(self, row: Session) -> SafeString | str:
        return when(row.resumed_at)

    @display(description="Started")
    def started(self, row: Session) -> SafeString | str:
        return when(row.started_at)

    @display(description="Ended")
    def ended(self, row: Session) -> SafeString | str:
        return when(row.ended_at)


def may_read(request: HttpRequest) -> bool:
    """Who may see that there is a session may not, by that alone, read what was said in it."""
    return bool(request.user.has_perm("gateway_app.view_transcriptmessage"))


def bubble(message: TranscriptMessage) -> dict[str, Any]:
    """A message as the page shows it."""
    rest = message.content[SHOWN_CHARS:]
    return {
        "message": message,
        "head": message.content[:SHOWN_CHARS],
        "rest": rest,
        "calls": [_call(call) for call in message.tool_calls or []],
    }


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments", "")
    with contextlib.suppress(ValueError, TypeError):
        arguments = json.loads(arguments)
    return {"name": function.get("name") or "a tool", "arguments": pretty_json(arguments)}


def _number(request: HttpRequest, name: str) -> int | None:
    found = request.GET.get(name, "")
    return int(found) if found.isascii() and found.isdigit() and len(found) <= 18 else None
