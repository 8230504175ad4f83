"""What the pages on access share: who acts, what is asked back first, and how a decision is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gateway_app.access.audit import Actor
from gateway_app.access.decision import Decision
from gateway_app.access.standing import Standing, because
from gateway_app.models import AccessRule
from gateway_app.models.audit import Door
from gateway_app.platforms import registry

from .base import ReadOnlyAdmin, label, link

SHOWN = 20
"""Rows that a question names; the rest is counted."""
AT_ONCE = 100
"""Rows that one answer acts on, each in a transaction of its own and with a message of its own."""
REASON_CHARS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that changes access, in the words of the page that asks whether to."""

    title: str
    verb: str
    consequence: str
    act: Callable[[HttpRequest, Any, str], None]
    """Does it to one row, with a reason, and tells the person what came of it. May raise `ValidationError`."""
    is_danger: bool = False


class AccessAdmin(ReadOnlyAdmin):
    """Pages whose actions go through the functions of `gateway_app.access`, which write the audit."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The audit has it all; the admin's own history has nothing of it."""
        row = self.get_object(request, object_id)
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return]
        return HttpResponseRedirect(audit_of(self.subject(row)))

    def subject(self, row: Any) -> str:
        """What the audit calls the row."""
        raise NotImplementedError

    def line(self, row: Any) -> str:
        """The row as a question names it."""
        return str(row)

    def page_of(self, row: Model) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])

    def ask_or_do(self, request: HttpRequest, rows: QuerySet[Any], deed: Deed) -> HttpResponse | None:
        """For actions on a list: None once it is done."""
        if "confirmed" not in request.POST:
            return self._ask(request, rows, deed)
        chosen = list(rows.order_by("pk")[: AT_ONCE + 1])
        for row in chosen[:AT_ONCE]:
            self._do(request, row, deed)
        if len(chosen) > AT_ONCE:
            self.message_user(request, f"Stopped after {AT_ONCE} rows; choose the rest again.", messages.WARNING)
        return None

    def ask_or_do_one(self, request: HttpRequest, object_id: str, deed: Deed) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return]
        if request.method != "POST":
            return self._ask(request, self.model._default_manager.filter(pk=row.pk), deed)
        self._do(request, row, deed)
        return HttpResponseRedirect(self.page_of(row))

    def _do(self, request: HttpRequest, row: Any, deed: Deed) -> None:
        try:
            deed.act(request, row, request.POST.get("reason", "").strip()[:REASON_CHARS])
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)

    def _ask(self, request: HttpRequest, rows: QuerySet[Any], deed: Deed) -> HttpResponse:
        shown = list(rows.order_by("pk")[: AT_ONCE + 1])
        context = {
            **self.admin_site.each_context(request),
            "title": deed.title,
            "opts": self.opts,
            "deed": deed,
            "count": min(len(shown), AT_ONCE),
            "has_more": len(shown) > AT_ONCE,
            "lines": [self.line(row) for row in shown[:SHOWN]],
            "more": max(0, min(len(shown), AT_ONCE) - SHOWN),
            "reason_chars": REASON_CHARS,
            "kept": kept(request),
            "back": request.get_full_path() if request.method == "POST" else "../change/",
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "gateway_app/admin/question.html", context)


def kept(request: HttpRequest) -> list[tuple[str, str]]:
    """What a list's action was asked with, for the page that asks back."""
    names = ("action", "_selected_action", "select_across", "index")
    return [(name, value) for name in names for value in request.POST.getlist(name)]


def platform_choices() -> list[tuple[str, str]]:
    """The platforms, those first on which strangers turn up."""
    names = sorted(registry.names(), key=lambda name: not registry.get(name).can_pair)
    return [(name, name) for name in names]


def actor(request: HttpRequest) -> Actor:
    """The signed-in person, as the audit names them."""
    return Actor(request.user.get_username(), Door.ADMIN)


def audit_of(subject: str) -> str:
    """The page with the audit rows about somebody or something."""
    return f"{reverse('admin:gateway_app_auditentry_changelist')}?{urlencode({'subject': subject})}"


def verdict(decision: Decision) -> SafeString:
    """Allowed or denied, as a label."""
    return label("allowed", "success") if decision.is_allowed else label("denied", "danger")


def reasoned(decision: Decision) -> SafeString | str:
    """What decided, with a way to the rule."""
    said = because(decision)
    return link(AccessRule, decision.rule_id, said) if decision.rule_id else said


def ruled(decision: Decision) -> SafeString:
    """The label and what decided."""
    return format_html('<span class="hermes-ruled">{} {}</span>', verdict(decision), reasoned(decision))


def warn_of(admin: AccessAdmin, request: HttpRequest, who: str, standing: Standing | None) -> None:
    """Warns of each list or rule that lets the person in all the same."""
    if standing is None:
        return
    everywhere = standing.direct.rule == standing.group.rule
    for decision in standing.allowing:
        where = "in direct messages" if decision is standing.direct else "in groups"
        where = "everywhere" if everywhere else where
        text = format_html("{} may still speak {}: {} lets them in.", who, where, reasoned(decision))
        admin.message_user(request, text, messages.WARNING)
