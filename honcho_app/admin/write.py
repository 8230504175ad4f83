from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from gateway_app import dead_letters
from gateway_app.admin.base import clamped, label, link, long_text, shorten, when
from gateway_app.admin.dead_letter import DeadLetterAdmin
from gateway_app.models import Lane, Session
from gateway_app.models.lane import LaneKind
from honcho_app.models import HonchoWrite
from honcho_app.models.write import WriteState


@admin.register(HonchoWrite)
class HonchoWriteAdmin(DeadLetterAdmin):
    replay_rows = dead_letters.replay_write
    discard_rows = dead_letters.discard_write
    excerpt_of = "content"
    usual_state = "sent"
    list_display = [
        "number",
        "state_label",
        "peer_short",
        "excerpt",
        "attempts",
        "next_attempt",
        "finished",
        "turn_link",
        "why_excerpt",
    ]
    list_filter = [("state", ChoicesDropdownFilter)]
    search_fields = ["id"]
    search_help_text = "Number, session id, or Honcho session key"
    fieldsets = [
        (None, {"fields": [("state_label", "turn_link"), "full_text", "full_error"]}),
        ("In Honcho", {"fields": [("peer", "role"), ("said", "message_id"), ("session_link", "lane_link")]}),
        ("Attempts", {"fields": [("attempts", "attempted"), ("next_attempt", "finished")]}),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        of_key = Lane.objects.filter(kind=LaneKind.HONCHO, key=search_term)
        wanted = Q(lane__in=of_key) | Q(session__in=Session.objects.filter(session_id=search_term))
        if search_term.isascii() and search_term.isdigit() and len(search_term) <= 18:
            wanted |= Q(pk=int(search_term))
        return queryset.filter(wanted), False

    def why(self, row: HonchoWrite) -> str:
        return row.error

    @display(description="State")
    def state_label(self, row: HonchoWrite) -> SafeString:
        if row.state == WriteState.WAITING and row.attempted_at:
            return label("not known yet", "warning")
        known: SafeString = super().state_label(row)
        return known

    @display(description="Session")
    def session_link(self, row: HonchoWrite) -> SafeString | str:
        return link(Session, row.session_id, str(row.session))

    @display(description="Who")
    def peer_short(self, row: HonchoWrite) -> str:
        return shorten(row.peer, length=40)

    @display(description="Said")
    def said(self, row: HonchoWrite) -> SafeString | str:
        return when(row.said_at)

    @display(description="Attempted")
    def attempted(self, row: HonchoWrite) -> SafeString | str:
        return when(row.attempted_at)

    @display(description="Next attempt")
    def next_attempt(self, row: HonchoWrite) -> SafeString | str:
        return when(row.next_attempt_at)

    @display(description="Finished")
    def finished(self, row: HonchoWrite) -> SafeString | str:
        return when(row.finished_at)

    @display(description="Error")
    def why_excerpt(self, row: HonchoWrite) -> SafeString:
        return clamped(row.error)

    @display(description="Error")
    def full_error(self, row: HonchoWrite) -> SafeString | str:
        return long_text(row.error)
