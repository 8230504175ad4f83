"""People who ask to be let in, as a queue: each is approved or denied by one click, or many at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display

from gateway_app.access import pairing
from gateway_app.access.pairing_errors import named
from gateway_app.models import PairingGuard, PairingRequest
from gateway_app.models.pairing import PairingState

from .access import AT_ONCE, REASON_CHARS, AccessAdmin, actor
from .base import PlatformFilter, label, long_text, shorten, when

COLOURS = {
    PairingState.PENDING: "info", PairingState.APPROVED: "success", PairingState.DENIED: "danger",
    PairingState.TURNED_AWAY: "warning",
}  # fmt: skip
SHORT = {
    PairingState.PENDING: "waits", PairingState.APPROVED: "approved", PairingState.DENIED: "denied",
    PairingState.EXPIRED: "expired", PairingState.CLEARED: "cleared", PairingState.TURNED_AWAY: "turned away",
}  # fmt: skip


class StateFilter(DropdownFilter):  # type: ignore[misc]
    """The queue is what is seen first; what was decided is a tab away."""

    title = "state"
    parameter_name = "state"
    all_option = ["", "Waiting"]

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        rest = [state for state in PairingState if state is not PairingState.PENDING]
        return [("decided", "All that are settled"), *((state.value, SHORT[state].capitalize()) for state in rest)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset.filter(pk__in=pairing.pending().values("pk"))
        if self.value() == "decided":
            return queryset.exclude(state=PairingState.PENDING)
        return queryset.filter(state=self.value())


@admin.register(PairingRequest)
class PairingAdmin(AccessAdmin):
    change_form_template = "gateway_app/admin/pairing.html"
    list_before_template = "gateway_app/admin/pairing_locks.html"
    list_filter = [StateFilter, PlatformFilter]
    search_fields = ["user_id"]
    search_help_text = "Number, id, or beginning of a name"
    actions = ["approve_chosen", "deny_chosen"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("state_label", "platform"),
                    ("user_name", "account"),
                    ("user_id", "user_id_alt"),
                    ("asked", "chat_id"),
                    "first_message",
                ]
            },
        ),
        ("Decision", {"fields": [("decided", "decided_by"), "full_reason"]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[tuple[str | None, dict[str, Any]]]:
        fieldsets: list[tuple[str | None, dict[str, Any]]] = super().get_fieldsets(request, obj)
        return fieldsets[:1] if obj and obj.state == PairingState.PENDING else fieldsets

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        if request.GET.get(StateFilter.parameter_name):
            return ["who", "state_label", "platform", "user_id_short", "asked", "decided", "decided_by"]
        columns: list[Any] = ["who", "platform", "user_id_short", "account", "first_message", "age"]
        if self.has_act_permission(request):
            columns.append(display(description="Decide")(functools.partial(_buttons, request)))
            columns[-1].__name__ = "decide"
        return columns

    def get_ordering(self, request: HttpRequest) -> list[str]:
        return ["-id"] if request.GET.get(StateFilter.parameter_name) else ["id"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        wanted = Q(user_id=search_term) | Q(user_id_alt=search_term) | Q(user_name__istartswith=search_term)
        number = search_term.removeprefix("#")
        if number.isascii() and number.isdigit() and len(number) <= 18:
            wanted |= Q(pk=int(number))
        return queryset.filter(wanted), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        guarded = PairingGuard.objects.filter(locked_until__isnull=False).order_by("platform")
        locks = [(guard.platform, pairing.locked_until(guard.platform)) for guard in guarded]
        extra = {**(extra_context or {}), "locks": [(name, when(until)) for name, until in locks if until]}
        response: HttpResponse = super().changelist_view(request, extra)
        return response

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        found = self.get_object(request, object_id)
        can_decide = bool(found and found.state == PairingState.PENDING and self.has_act_permission(request))
        extra = {**(extra_context or {}), "can_decide": can_decide, "reason_chars": REASON_CHARS, "show_save": False}
        response: HttpResponse = super().change_view(request, object_id, form_url, extra)
        return response

    def get_urls(self) -> list[Any]:
        own = [
            path(
                f"<int:request_id>/{name}/",
                self.admin_site.admin_view(functools.partial(self.decide, decision=decision)),
                name=f"gateway_app_pairingrequest_{name}",
            )
            for name, decision in (("approve", self._approve), ("deny", self._deny))
        ]
        return [*own, *super().get_urls()]

    def decide(
        self, request: HttpRequest, request_id: int, decision: Callable[[HttpRequest, int], bool]
    ) -> HttpResponse:
        """One click of the queue or of a request's page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_act_permission(request):
            raise PermissionDenied
        decision(request, request_id)
        queue = reverse("admin:gateway_app_pairingrequest_changelist")
        query = request.GET.urlencode()
        return HttpResponseRedirect(f"{queue}?{query}" if query else queue)

    @action(description="Approve", permissions=["act"])
    def approve_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._decide_all(request, queryset, self._approve)

    @action(description="Deny", permissions=["act"])
    def deny_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._decide_all(request, queryset, self._deny)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """What is settled cannot be chosen."""
        actions: dict[str, Any] = super().get_actions(request)
        return {} if request.GET.get(StateFilter.parameter_name) else actions

    def _decide_all(
        self, request: HttpRequest, rows: QuerySet[Any], decision: Callable[[HttpRequest, int], bool]
    ) -> None:
        for number in list(rows.order_by("pk").values_list("pk", flat=True)[:AT_ONCE]):
            decision(request, number)

    def _approve(self, request: HttpRequest, number: int) -> bool:
        return self._tell(
            request, "Approved {}; they are told.", lambda: pairing.approve(request_id=number, by=actor(request))
        )

    def _deny(self, request: HttpRequest, number: int) -> bool:
        reason = request.POST.get("reason", "").strip()[:REASON_CHARS]
        return self._tell(
            request, "Denied {}.", lambda: pairing.deny(request_id=number, by=actor(request), reason=reason)
        )

    def _tell(self, request: HttpRequest, done: str, decision: Callable[[], PairingRequest]) -> bool:
        try:
            found = decision()
        except pairing.PairingError as error:
            self.message_user(request, str(error), messages.ERROR)
            return False
        self.message_user(request, done.format(named(found)), messages.SUCCESS)
        return True

    def subject(self, row: PairingRequest) -> str:
        return row.user_id_alt or row.user_id

    @display(description="Who")
    def who(self, row: PairingRequest) -> str:
        return shorten(row.user_name, length=40) or "no name"

    @display(description="Id")
    def user_id_short(self, row: PairingRequest) -> str:
        return shorten(row.user_id, length=32)

    @display(description="First message")
    def first_message(self, row: PairingRequest) -> str:
        count = "1 character" if row.message_chars == 1 else f"{row.message_chars:,} characters"
        return f"{count} at {row.requested_at:%H:%M}"

    @display(description="Age")
    def age(self, row: PairingRequest) -> str:
        minutes = max(0, int((timezone.now() - row.requested_at).total_seconds() // 60))
        return f"{minutes} min, {max(0, pairing.CODE_SECONDS // 60 - minutes)} left"

    @display(description="State")
    def state_label(self, row: PairingRequest) -> SafeString:
        state = PairingState(row.state)
        return label(SHORT[state], COLOURS.get(state, ""))

    @display(description="Asked")
    def asked(self, row: PairingRequest) -> SafeString | str:
        return when(row.requested_at)

    @display(description="Decided")
    def decided(self, row: PairingRequest) -> SafeString | str:
        return when(row.decided_at)

    @display(description="Reason")
    def full_reason(self, row: PairingRequest) -> SafeString | str:
        return long_text(row.reason)


def _buttons(request: HttpRequest, row: PairingRequest) -> SafeString:
    """They send the list's form, with its CSRF token, to another address: what only looks never decides."""
    query = f"?{request.GET.urlencode()}" if request.GET else ""
    approve, deny = (
        reverse(f"admin:gateway_app_pairingrequest_{what}", args=[row.pk]) + query for what in ("approve", "deny")
    )
    return format_html(
        '<span class="hermes-decide">'
        '<button type="submit" formaction="{}" class="hermes-button" aria-label="Approve {}">Approve</button> '
        '<button type="submit" formaction="{}" class="hermes-button hermes-quiet" aria-label="Deny {}">Deny</button>'
        "</span>",
        approve, named(row), deny, named(row),
    )  # fmt: skip
