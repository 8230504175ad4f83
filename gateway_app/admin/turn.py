from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from gateway_app.duration import duration
from gateway_app.models import InboundMessage, OutboundPart, Session, Turn, TurnStep

from .base import ReadOnlyAdmin, clamped, link, long_text, pretty_json, when

STEPS = 50
"""Journal steps on a page."""
RELATED = 50
"""Messages and parts of the turn that its page lists."""
ICONS = {
    "model_reply": "neurology",
    "tool_started": "build",
    "tool_result": "output",
    "steered": "call_merge",
    "recalled": "history_edu",
}


@admin.register(Turn)
class TurnAdmin(ReadOnlyAdmin):
    change_form_template = "gateway_app/admin/turn.html"
    usual_state = "done"
    list_display = [
        "number",
        "state_label",
        "session_link",
        "model",
        "tokens",
        "took",
        "attempts",
        "finished",
        "why_excerpt",
    ]
    list_filter = [("state", ChoicesDropdownFilter)]
    list_select_related = ["session"]
    search_fields = ["id"]
    search_help_text = "Number, or session id"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("state_label", "session_link"),
                    ("model", "tokens"),
                    ("cached_tokens", "cost"),
                    ("took", "model_time"),
                    ("started", "finished"),
                    "full_error",
                ]
            },
        ),
        (
            "More",
            {
                "fields": [("error_kind", "attempts"), ("stop", "stop_by", "interrupts"), "lane_link"],
                "classes": ["collapse"],
            },
        ),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        wanted = Q(session__in=Session.objects.filter(session_id=search_term))
        if search_term.isascii() and search_term.isdigit() and len(search_term) <= 18:
            wanted |= Q(pk=int(search_term))
        return queryset.filter(wanted), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        extra = {**(extra_context or {}), "show_save": False}
        turn = self.get_object(request, object_id)
        if turn:
            extra |= self._journal(request, turn) | self._ends(request, turn)
        response: HttpResponse = super().change_view(request, object_id, form_url, extra)
        return response

    def _journal(self, request: HttpRequest, turn: Turn) -> dict[str, Any]:
        if not request.user.has_perm("gateway_app.view_turnstep"):
            return {"steps": None}
        steps = TurnStep.objects.filter(turn=turn).order_by("position")
        page = Paginator(steps, STEPS).get_page(request.GET.get("steps"))
        return {
            "steps": page,
            "journal": [
                {
                    "step": step,
                    "icon": ICONS.get(step.kind, "circle"),
                    "after": duration((step.created_at - turn.started_at).total_seconds()),
                    "payload": pretty_json(step.payload),
                }
                for step in page
            ],
        }

    def _ends(self, request: HttpRequest, turn: Turn) -> dict[str, Any]:
        """What the turn answered and what it said, for those who may see it."""
        found: dict[str, Any] = {}
        if request.user.has_perm("gateway_app.view_inboundmessage"):
            found["asked"] = list(InboundMessage.objects.filter(turn=turn).order_by("seq")[:RELATED])
        if request.user.has_perm("gateway_app.view_outboundpart"):
            found["said"] = list(OutboundPart.objects.filter(turn=turn).order_by("seq")[:RELATED])
        return found

    @display(description="Session")
    def session_link(self, row: Turn) -> SafeString | str:
        return link(Session, row.session_id, str(row.session))

    @display(description="Tokens")
    def tokens(self, row: Turn) -> str:
        return f"{row.prompt_tokens:,} + {row.completion_tokens:,}"

    @display(description="Cost")
    def cost(self, row: Turn) -> str:
        return "–" if row.cost_micros is None else f"{row.cost_micros / 1_000_000:,.6f}"

    @display(description="Model time")
    def model_time(self, row: Turn) -> str:
        return duration(row.model_seconds)

    @display(description="Took")
    def took(self, row: Turn) -> str:
        return duration((row.finished_at - row.started_at).total_seconds() if row.finished_at else None)

    @display(description="Started")
    def started(self, row: Turn) -> SafeString | str:
        return when(row.started_at)

    @display(description="Finished")
    def finished(self, row: Turn) -> SafeString | str:
        return when(row.finished_at)

    @display(description="Error")
    def why_excerpt(self, row: Turn) -> SafeString:
        return clamped(row.error or row.error_kind)

    @display(description="Error")
    def full_error(self, row: Turn) -> SafeString | str:
        return long_text(row.error)
