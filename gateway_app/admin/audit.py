"""The audit: read, filtered, exported, and checked for rows that were tampered with."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, TextFilter
from unfold.decorators import display

from gateway_app.access import audit
from gateway_app.models import AuditEntry
from gateway_app.models.audit import AuditAction

from . import audit_export
from .base import PlatformFilter, ReadOnlyAdmin, bounded_count, clamped, label, long_text, shorten, when

SPANS = {"1": "Last hour", "24": "Last 24 hours", "168": "Last 7 days", "720": "Last 30 days", "8760": "Last 365 days"}
"""Hours, and how the filter names them."""
COLOURS = {
    AuditAction.PAIRING_REQUESTED: "info", AuditAction.PAIRING_APPROVED: "success",
    AuditAction.PAIRING_DENIED: "danger", AuditAction.PAIRING_LOCKED: "danger", AuditAction.RULE_ADDED: "success",
    AuditAction.RULE_CHANGED: "warning", AuditAction.RULE_REMOVED: "danger", AuditAction.ROLE_CHANGED: "warning",
    AuditAction.CONFIGURATION_CHANGED: "warning",
}  # fmt: skip


class TimeFilter(DropdownFilter):  # type: ignore[misc]
    title = "time"
    parameter_name = "hours"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return list(SPANS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in SPANS:
            return queryset
        return queryset.filter(at__gte=timezone.now() - timedelta(hours=int(self.value())))


class ActorFilter(TextFilter):  # type: ignore[misc]
    title = "actor"
    parameter_name = "actor"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(actor=self.value()) if self.value() else queryset


class SubjectFilter(TextFilter):  # type: ignore[misc]
    title = "subject"
    parameter_name = "subject"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(subject=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditAdmin(ReadOnlyAdmin):
    change_form_template = "gateway_app/admin/audit_entry.html"
    list_display = ["number", "when", "what", "platform", "whom", "by", "reason_excerpt"]
    list_filter = [
        ("action", ChoicesDropdownFilter), ("door", ChoicesDropdownFilter), PlatformFilter, TimeFilter, ActorFilter,
        SubjectFilter,
    ]  # fmt: skip
    list_filter_submit = True
    search_fields = ["subject"]
    search_help_text = "Number, subject or actor"
    actions = None
    list_before_template = "gateway_app/admin/audit_tools.html"
    fieldsets = [
        (None, {"fields": [("what", "when"), ("actor", "door_name"), ("platform", "subject"), "full_reason"]}),
        ("Chain", {"fields": ["previous_hash", "hash"], "classes": ["collapse"]}),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        wanted = Q(subject=search_term) | Q(actor=search_term)
        if search_term.isascii() and search_term.isdigit() and len(search_term) <= 18:
            wanted |= Q(pk=int(search_term))
        return queryset.filter(wanted), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        extra = {**(extra_context or {}), "show_save": False}
        entry = self.get_object(request, object_id)
        if entry:
            extra["changes"] = changes(entry.before, entry.after)
        response: HttpResponse = super().change_view(request, object_id, form_url, extra)
        return response

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A row of the audit has no history: it never changes."""
        return HttpResponseRedirect(reverse("admin:gateway_app_auditentry_change", args=[object_id]))

    def get_urls(self) -> list[Any]:
        own = [
            path("verify/", self.admin_site.admin_view(self.verify), name="gateway_app_auditentry_verify"),
            path("export/<str:form>/", self.admin_site.admin_view(self.export), name="gateway_app_auditentry_export"),
        ]
        return [*own, *super().get_urls()]

    def verify(self, request: HttpRequest) -> HttpResponse:
        """Reads the whole chain and says whether each row is as it was written."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Verify the audit",
            "opts": self.opts,
            "verdict": audit.verify(),
            "back": reverse("admin:gateway_app_auditentry_changelist"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "gateway_app/admin/audit_verdict.html", context)

    def export(self, request: HttpRequest, form: str) -> HttpResponseBase:
        """The rows that the list's filters and search leave, oldest first, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if form not in audit_export.FORMS:
            raise Http404
        back = f"{reverse('admin:gateway_app_auditentry_changelist')}?{request.GET.urlencode()}"
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(back)
        if bounded_count(rows, cap=audit_export.MOST_ROWS + 1) > audit_export.MOST_ROWS:
            told = f"One file takes {audit_export.MOST_ROWS:,} rows, and there are more. Narrow the filters."
            self.message_user(request, told, messages.ERROR)
            return HttpResponseRedirect(back)
        return audit_export.response(request, rows, form=form)

    @display(description="When")
    def when(self, row: AuditEntry) -> SafeString | str:
        return when(row.at)

    @display(description="What")
    def what(self, row: AuditEntry) -> SafeString:
        return label(row.get_action_display(), COLOURS.get(AuditAction(row.action), ""))

    @display(description="Subject")
    def whom(self, row: AuditEntry) -> str:
        return shorten(row.subject, length=40)

    @display(description="By")
    def by(self, row: AuditEntry) -> str:
        return f"{row.actor}, {row.get_door_display()}"

    @display(description="Door")
    def door_name(self, row: AuditEntry) -> str:
        return row.get_door_display()

    @display(description="Reason")
    def reason_excerpt(self, row: AuditEntry) -> SafeString:
        return clamped(row.reason)

    @display(description="Reason")
    def full_reason(self, row: AuditEntry) -> SafeString | str:
        return long_text(row.reason)


def changes(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[dict[str, Any]]:
    """What a change was about, name by name, with the old and the new value side by side."""
    old, new = before or {}, after or {}
    return [
        {
            "name": name,
            "before": _said(old.get(name)),
            "after": _said(new.get(name)),
            "differs": old.get(name) != new.get(name),
        }
        for name in dict.fromkeys([*old, *new])
    ]


def _said(value: object) -> str:
    if value is None or value == "" or value == []:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
