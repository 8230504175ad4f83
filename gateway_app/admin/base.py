"""What the gateway's admin pages share: nobody edits a row by hand, and no page counts or sorts a whole table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.admin import ShowFacets
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from gateway_app.models import Lane, Turn
from gateway_app.platforms import registry

COUNT_CAP = 10_000
"""Rows that a list counts and pages through; who looks for older ones narrows the list."""
EXCERPT_CHARS = 120
JSON_CHARS = 50_000
"""Characters of one JSON value that a page shows."""

STATE_COLOURS = {
    "waiting": "info", "running": "primary", "sending": "primary", "done": "success", "sent": "success",
    "refused": "warning", "rejected": "warning", "failed": "warning", "stopped": "info", "dead": "danger",
    "retrying": "warning",
}  # fmt: skip


def bounded_count(rows: QuerySet[Any], *, cap: int = COUNT_CAP) -> int:
    """How many rows there are, or `cap` where there are more."""
    return rows.order_by().values("pk")[:cap].count()


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than its cap."""

    template_name = "gateway_app/admin/pagination.html"
    cap = COUNT_CAP

    @cached_property
    def count(self) -> int:
        return bounded_count(self.object_list, cap=self.cap)  # type: ignore[arg-type]


class BoundedChangeList(ChangeList):  # type: ignore[misc]
    """Has no full count, and so no link to all rows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """Rows are seen with the view permission. With the change permission one may act on them, never edit them."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    list_fullwidth = True
    compressed_fields = True
    ordering: ClassVar[Sequence[str]] = ["-id"]
    sortable_by: ClassVar[Sequence[str]] = []
    empty_value_display = "–"
    excerpt_of = ""
    """A long text field of which lists read the beginning only, as `excerpt`."""
    usual_state = ""
    """The state that nearly all rows are in, which the index on states leaves out."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self._has(request, "view") or self._has(request, "change")

    def has_act_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self._has(request, "change")

    def _has(self, request: HttpRequest, what: str) -> bool:
        return bool(request.user.has_perm(f"{self.opts.app_label}.{what}_{self.opts.model_name}"))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedChangeList]:
        return BoundedChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        if self.usual_state and request.GET.get("state__exact", self.usual_state) != self.usual_state:
            rows = rows.exclude(state=self.usual_state)  # names the index's condition, which SQLite needs to use it
        if self.excerpt_of:
            rows = rows.defer(self.excerpt_of).annotate(beginning=Left(self.excerpt_of, EXCERPT_CHARS + 1))
        return rows

    @display(description="Number")
    def number(self, row: Model) -> str:
        return f"#{row.pk}"

    @display(description="State")
    def state_label(self, row: Any) -> SafeString:
        return label(row.state, STATE_COLOURS.get(row.state, ""))

    @display(description="Text")
    def excerpt(self, row: Any) -> SafeString:
        return clamped(row.beginning)

    @display(description="Text")
    def full_text(self, row: Any) -> SafeString | str:
        return long_text(getattr(row, self.excerpt_of))

    @display(description="Lane")
    def lane_link(self, row: Any) -> SafeString | str:
        return link(Lane, row.lane_id, str(row.lane)) if row.lane_id else "–"

    @display(description="Turn")
    def turn_link(self, row: Any) -> SafeString | str:
        return link(Turn, row.turn_id)


class PlatformFilter(DropdownFilter):  # type: ignore[misc]
    """By platform, from the ones that are shipped: the table's own values would have to be searched for."""

    title = "platform"
    parameter_name = "platform"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(name, name) for name in registry.names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(platform=self.value()) if self.value() else queryset


def note(request: HttpRequest, rows: QuerySet[Any], message: str) -> None:
    """Writes what the person did into the history of each row. Must run in the transaction that does it."""
    assert request.user.pk is not None
    LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, message)


def shorten(text: str, *, length: int = EXCERPT_CHARS) -> str:
    """One line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def clamped(text: str) -> SafeString:
    """The beginning of a text, in at most two lines of a list."""
    return format_html('<div class="hermes-excerpt">{}</div>', shorten(text))


def label(text: str, colour: str) -> SafeString:
    """A word on a coloured ground: `info`, `primary`, `success`, `warning` or `danger`."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "variant": colour})


def when(moment: datetime | None) -> SafeString | str:
    """A moment to the second, in UTC."""
    if moment is None:
        return "–"
    said = f"{moment:%Y-%m-%d %H:%M:%S}"
    return format_html('<time class="hermes-time" datetime="{}">{}</time>', moment.isoformat(), said)


def link(model: type[Model], pk: int | None, text: str = "") -> SafeString | str:
    """A link to a row's page; the row itself need not be read."""
    if pk is None:
        return "–"
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])
    return format_html('<a class="hermes-link" href="{}">{}</a>', url, text or f"#{pk}")


def pretty_json(value: object) -> SafeString:
    """Indented JSON, escaped, cut where it is very long."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    cut = f"\n… {len(text) - JSON_CHARS:,} more characters" if len(text) > JSON_CHARS else ""
    return format_html('<pre class="hermes-json">{}{}</pre>', text[:JSON_CHARS], cut)


def long_text(text: str) -> SafeString | str:
    """A text as it is, line breaks and all."""
    return format_html('<div class="hermes-text">{}</div>', text) if text else "–"
