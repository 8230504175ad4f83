from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display

from gateway_app.duration import duration
from gateway_app.models import InboundMessage, Lane, OutboundPart
from honcho_app.models import HonchoWrite

from .base import ReadOnlyAdmin, clamped, label, when

LANE, INBOX, OUTBOX, HONCHO = (model._meta.db_table for model in (Lane, InboundMessage, OutboundPart, HonchoWrite))
DEPTH = (
    f"(SELECT COUNT(*) FROM {INBOX} WHERE lane_id = {LANE}.id AND state IN ('waiting', 'running'))"
    f" + (SELECT COUNT(*) FROM {OUTBOX} WHERE lane_id = {LANE}.id AND state IN ('waiting', 'sending'))"
    f" + (SELECT COUNT(*) FROM {HONCHO} WHERE lane_id = {LANE}.id AND state = 'waiting')"
)
"""Open items of a lane. The states are written out so that SQLite, too, sees that its partial indexes serve."""


class ActivityFilter(DropdownFilter):  # type: ignore[misc]
    """Idle lanes, one for each session and chat there ever was, are shown only when asked for."""

    title = "activity"
    parameter_name = "activity"
    all_option = ["", "Busy"]

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [
            ("held", "Held by a worker"),
            ("due", "Due, and held by nobody"),
            ("later", "Due later"),
            ("all", "All"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all":
            return queryset
        now = timezone.now()
        free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
        wanted = {"held": Q(lease_until__gt=now), "due": free & Q(wake_at__lte=now), "later": free & Q(wake_at__gt=now)}
        return queryset.filter(wanted.get(self.value() or "", Q()), wake_at__isnull=False)


@admin.register(Lane)
class LaneAdmin(ReadOnlyAdmin):
    list_display = ["key_excerpt", "short_kind", "activity", "depth", "fence", "owner"]
    list_filter = [ActivityFilter, ("kind", ChoicesDropdownFilter)]
    search_fields = ["key__startswith"]
    search_help_text = "Beginning of the key"
    fieldsets = [
        (None, {"fields": ["key", ("kind", "activity"), ("depth", "tail"), "wake"]}),
        ("Lease", {"fields": ["owner", ("lease", "fence")]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(open_items=RawSQL(DEPTH, []))  # noqa: S611
        return rows

    @display(description="Key")
    def key_excerpt(self, row: Lane) -> SafeString:
        return clamped(row.key)

    @display(description="Kind")
    def short_kind(self, row: Lane) -> str:
        return row.kind

    @display(description="Activity")
    def activity(self, row: Lane) -> SafeString:
        now = timezone.now()
        if row.lease_until and row.lease_until > now:
            return label("held", "success")
        if row.wake_at is None:
            return label("idle", "")
        seconds = (now - row.wake_at).total_seconds()
        return (
            label(f"due for {duration(seconds)}", "warning")
            if seconds >= 0
            else label(f"due in {duration(-seconds)}", "info")
        )

    @display(description="Depth")
    def depth(self, row: Any) -> int:
        return int(row.open_items)

    @display(description="Wakes at")
    def wake(self, row: Lane) -> SafeString | str:
        return when(row.wake_at)

    @display(description="Held by")
    def owner(self, row: Lane) -> str:
        return row.lease_owner or "–"

    @display(description="Lease until")
    def lease(self, row: Lane) -> SafeString | str:
        return when(row.lease_until)
