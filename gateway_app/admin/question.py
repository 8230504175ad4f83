"""What turns ask people, and the tools that people let run unasked: decided and taken back by an operator."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from gateway_app import doorbell
from gateway_app.models import Question, ToolPermission
from gateway_app.models.question import QuestionKind, QuestionState
from gateway_app.questions import deciding, permissions, wording
from gateway_app.questions.pressing import session_of

from .access import AT_ONCE, AccessAdmin, actor
from .base import PlatformFilter, ReadOnlyAdmin, clamped, label, long_text, when

COLOURS = {
    QuestionState.PENDING: "info", QuestionState.APPROVED: "success", QuestionState.ANSWERED: "success",
    QuestionState.DENIED: "danger", QuestionState.EXPIRED: "warning", QuestionState.WITHDRAWN: "warning",
}  # fmt: skip


@admin.register(Question)
class QuestionAdmin(ReadOnlyAdmin):
    list_display = ["who", "kind", "tool", "excerpt", "state_label", "asked", "ends"]
    list_filter = [("state", ChoicesDropdownFilter), ("kind", ChoicesDropdownFilter)]
    list_select_related = ["turn__session"]
    actions = ["approve_chosen", "deny_chosen"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("state_label", "kind"), ("who", "turn_link"), ("tool", "number"), "full_text", "choices",
                    ("asked", "ends"),
                ]
            },
        ),
        ("Answer", {"fields": [("answered", "answered_by"), ("door", "scope"), "answer"]}),
    ]  # fmt: skip

    @action(description="Approve, once", permissions=["act"])
    def approve_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._decide(request, queryset, is_approved=True)

    @action(description="Deny", permissions=["act"])
    def deny_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._decide(request, queryset, is_approved=False)

    def _decide(self, request: HttpRequest, rows: QuerySet[Any], *, is_approved: bool) -> None:
        for row in list(rows.filter(kind=QuestionKind.APPROVAL).order_by("pk")[:AT_ONCE]):
            is_first = deciding.decide(row, is_approved=is_approved, by=actor(request).name)
            self.message_user(
                request, wording.settled(row).replace("`", ""), messages.SUCCESS if is_first else messages.WARNING
            )
            if is_first:
                doorbell.ring([session_of(row)])

    def number(self, row: Question) -> str:
        return f"#{row.number} of its conversation"

    @display(description="Who")
    def who(self, row: Question) -> str:
        asked = row.asked
        return f"{asked.platform} {asked.user_name or asked.participant}"

    @display(description="What")
    def excerpt(self, row: Question) -> SafeString:
        return clamped(row.text)

    @display(description="What")
    def full_text(self, row: Question) -> SafeString | str:
        return long_text(row.text)

    @display(description="State")
    def state_label(self, row: Question) -> SafeString:
        state = QuestionState(row.state)
        return label(state.label, COLOURS[state])

    @display(description="Asked")
    def asked(self, row: Question) -> SafeString | str:
        return when(row.asked_at)

    @display(description="Until")
    def ends(self, row: Question) -> SafeString | str:
        return when(row.expires_at)

    @display(description="Answered")
    def answered(self, row: Question) -> SafeString | str:
        return when(row.answered_at)


@admin.register(ToolPermission)
class ToolPermissionAdmin(AccessAdmin):
    list_display = ["participant", "platform", "tool", "where", "given"]
    list_filter = [PlatformFilter]
    search_fields = ["participant__exact"]
    search_help_text = "A person's id"
    actions = ["take_back_chosen"]
    fieldsets = [(None, {"fields": [("participant", "platform"), "tool", "where", "given"]})]

    @action(description="Take back", permissions=["act"])
    def take_back_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        for pk in list(queryset.order_by("pk").values_list("pk", flat=True)[:AT_ONCE]):
            if found := permissions.take_back(permission_id=pk, by=actor(request)):
                self.message_user(request, f"Taken back: {found}; it is asked about again.", messages.SUCCESS)
        return None

    def subject(self, row: ToolPermission) -> str:
        return row.participant

    @display(description="Where")
    def where(self, row: ToolPermission) -> str:
        return f"in the conversation {row.session_id}" if row.session_id else "everywhere"

    @display(description="Given")
    def given(self, row: ToolPermission) -> SafeString | str:
        return when(row.created_at)
