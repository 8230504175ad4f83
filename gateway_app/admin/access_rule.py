"""Allow and deny rows: found, written and taken back, always through `gateway_app.access.rules`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from gateway_app.access import rules
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.access.standing import because
from gateway_app.models import AccessRule
from gateway_app.models.access import Effect, Origin, SubjectKind

from . import access_simulator
from .access import REASON_CHARS, AccessAdmin, Deed, actor, platform_choices, warn_of
from .base import PlatformFilter, clamped, label, long_text, shorten, when


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """What may be changed of a rule.

    It writes the rule once all fields are well-formed, so that what `rules.put()` has against it stands in the form.
    """

    name = forms.CharField(
        required=False, max_length=255, widget=UnfoldAdminTextInputWidget, help_text="For people to read."
    )
    expires_at = forms.SplitDateTimeField(
        label="Ends", required=False, widget=UnfoldAdminSplitDateTimeWidget,
        help_text="UTC. Empty: it holds until it is taken back.",
    )  # fmt: skip
    note = forms.CharField(required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))
    reason = forms.CharField(
        required=False, max_length=REASON_CHARS, widget=UnfoldAdminTextInputWidget,
        help_text="Why it is written or changed now, for the audit.",
    )  # fmt: skip
    seen_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    request: HttpRequest
    outcome: rules.Put | None = None

    class Meta:
        model = AccessRule
        fields = ["name", "note", "expires_at"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["seen_version"].initial = self.instance.version

    def _post_clean(self) -> None:
        # The model's own checks stay out: a rule that was taken back would count as one that exists already.
        if self.errors:
            return
        what = {name: self.cleaned_data[name] for name in ("name", "note", "expires_at", "reason")}
        try:
            self.outcome = rules.put(**self._identity(), **what, by=actor(self.request))
        except ValidationError as error:
            self.add_error(None, error)

    def _identity(self) -> dict[str, Any]:
        now = AccessRule.objects.get(pk=self.instance.pk)
        if not now.is_active or now.version != self.cleaned_data["seen_version"]:
            raise ValidationError(
                "Somebody else changed this rule or took it back meanwhile. Nothing was written; look at it again."
            )
        return _identity(now.effect, now.subject, now.platform, now.subject_id)


class NewRuleForm(RuleForm):
    """What a rule is about as well. It is chosen once; another subject is another rule."""

    effect = forms.ChoiceField(choices=Effect, widget=UnfoldAdminSelectWidget)
    subject = forms.ChoiceField(choices=SubjectKind, widget=UnfoldAdminSelectWidget)
    platform = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    subject_id = forms.CharField(
        label="Id", max_length=rules.LONGEST_ID, widget=UnfoldAdminTextInputWidget,
        help_text="As the platform has it; * is everybody, or every group. A name decides nothing.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [*platform_choices(), ("", "every platform (people only)")]
        self.fields["platform"].choices = choices  # type: ignore[attr-defined]

    def _identity(self) -> dict[str, Any]:
        return _identity(*(self.cleaned_data[name] for name in ("effect", "subject", "platform", "subject_id")))


def _identity(effect: str, subject: str, platform: str, subject_id: str) -> dict[str, Any]:
    return {"effect": Effect(effect), "subject": SubjectKind(subject), "platform": platform, "subject_id": subject_id}


class ForceFilter(DropdownFilter):  # type: ignore[misc]
    """Rules that were taken back, or have ended, are shown only when asked for."""

    title = "force"
    parameter_name = "force"
    all_option = ["", "In force"]

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("ending", "In force, with an end"), ("ended", "Ended or taken back"), ("all", "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        holds = Q(is_active=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=Now()))
        wanted = {"all": Q(), "ended": ~holds, "ending": holds & Q(expires_at__isnull=False)}
        return queryset.filter(wanted.get(self.value() or "", holds))


@admin.register(AccessRule)
class AccessRuleAdmin(AccessAdmin):
    list_display = ["rule", "whom", "called", "platform_name", "origin_name", "ends", "note_excerpt"]
    list_filter = [
        ForceFilter, ("effect", ChoicesDropdownFilter), PlatformFilter, ("subject", ChoicesDropdownFilter),
        ("origin", ChoicesDropdownFilter),
    ]  # fmt: skip
    search_fields = ["subject_id"]
    search_help_text = "Id, or beginning of an id or a name"
    actions = ["remove"]
    actions_detail = ["remove_one"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._has(request, "add")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A rule that was taken back is history: it is put in force again by adding it.
        return self._has(request, "change") and (obj is None or obj.is_active)

    def has_remove_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self._has(request, "delete")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[tuple[str | None, dict[str, Any]]]:
        if obj is None:
            fields: list[Any] = [
                ("effect", "subject"),
                ("platform", "subject_id"),
                "name",
                "expires_at",
                "note",
                "reason",
            ]
            return [(None, {"fields": fields})]
        fixed = [("rule", "whom"), ("platform_name", "origin_name")]
        if not self.has_change_permission(request, obj):
            return [(None, {"fields": [*fixed, ("name", "ends"), "full_note", ("created", "changed")]})]
        editable = ["name", "expires_at", "note", "reason", "seen_version"]
        return [(None, {"fields": [*fixed, *editable]}), ("Written", {"fields": [("created", "changed")]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        shown = ["rule", "whom", "platform_name", "origin_name", "ends", "full_note", "created", "changed"]
        return shown if obj else []

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[RuleForm]:
        if obj and not self.has_change_permission(request, obj):
            return super().get_form(request, obj, change, **kwargs)  # type: ignore[no-any-return]
        return type("BoundRuleForm", (RuleForm if obj else NewRuleForm,), {"request": request})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        wanted = Q(subject_id__startswith=search_term) | Q(name__istartswith=search_term)
        if search_term.isascii() and search_term.isdigit() and len(search_term) <= 18:
            wanted |= Q(pk=int(search_term))
        return queryset.filter(wanted), False

    def save_form(self, request: HttpRequest, form: RuleForm, change: bool) -> Model:
        assert form.outcome
        return form.outcome.rule

    def save_model(self, request: HttpRequest, obj: Model, form: object, change: bool) -> None:
        """The form has written it. Django commits after this; until then other threads read what was before."""
        transaction.on_commit(gatekeeper.forget)

    def save_related(self, request: HttpRequest, form: object, formsets: object, change: bool) -> None:
        """There is nothing else."""

    def construct_change_message(
        self, request: HttpRequest, form: RuleForm, formsets: object, add: bool = False
    ) -> Any:
        outcome = form.outcome
        assert outcome
        rule = outcome.rule
        if not outcome.is_changed:
            self.message_user(request, f"Rule #{rule.pk} was in force already, just so.", messages.INFO)
        else:
            done = "is in force" if outcome.is_new else "was changed"
            self.message_user(request, f"Rule #{rule.pk} {done}: {rule}.", messages.SUCCESS)
        return []

    def log_addition(self, request: HttpRequest, obj: object, message: object) -> None:
        """The audit has it."""

    def log_change(self, request: HttpRequest, obj: object, message: object) -> None:
        """The audit has it."""

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return HttpResponseRedirect(self.page_of(obj))

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:gateway_app_accessrule_changelist"))

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.simulator)
        return [path("simulator/", view, name="gateway_app_accessrule_simulator"), *super().get_urls()]

    def simulator(self, request: HttpRequest) -> HttpResponse:
        """Only looks, so that the permission to see the rules is enough."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Access simulator",
            "opts": self.opts,
            **access_simulator.simulated(request),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "gateway_app/admin/access_simulator.html", context)

    @action(description="Take back", permissions=["remove"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self.ask_or_do(request, queryset, self._removal())

    @action(description="Take back", permissions=["remove"], icon="block")
    def remove_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask_or_do_one(request, object_id, self._removal())

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        row = self.get_object(request, object_id)
        return super().get_actions_detail(request, object_id) if row and row.is_active else []

    def _removal(self) -> Deed:
        return Deed(
            title="Take rules back?",
            verb="Take back",
            consequence="An allowance that is taken back lets nobody in any more, a ban keeps nobody out. That holds"
            " within two seconds. The row stays, marked as taken back.",
            act=self._remove,
            is_danger=True,
        )

    def _remove(self, request: HttpRequest, row: AccessRule, reason: str) -> None:
        removal = rules.remove(rule_id=row.pk, by=actor(request), reason=reason)
        if not removal.removed:
            self.message_user(request, f"Rule #{row.pk} was not in force any more.", messages.WARNING)
            return
        self.message_user(request, f"Took rule #{row.pk} back: {row}.", messages.SUCCESS)
        if row.effect == Effect.ALLOW:
            warn_of(self, request, row.name or row.subject_id, removal.standing)
        elif removal.standing and not removal.standing.direct.is_allowed:
            why = because(removal.standing.direct)
            self.message_user(request, f"{row.subject_id} is still denied: {why}.", messages.WARNING)

    def subject(self, row: AccessRule) -> str:
        return row.subject_id

    @display(description="Rule")
    def rule(self, row: AccessRule) -> SafeString:
        if not row.is_active:
            return label(f"{row.effect}, taken back", "")
        return label(row.effect, "success" if row.effect == Effect.ALLOW else "danger")

    @display(description="Whom")
    def whom(self, row: AccessRule) -> str:
        if row.subject_id == "*":
            return "everybody" if row.subject == SubjectKind.USER else "every group"
        return f"{row.get_subject_display()} {shorten(row.subject_id, length=40)}"

    @display(description="Name")
    def called(self, row: AccessRule) -> str:
        return shorten(row.name, length=40)

    @display(description="Platform")
    def platform_name(self, row: AccessRule) -> str:
        return row.platform or "every platform"

    @display(description="Origin")
    def origin_name(self, row: AccessRule) -> str:
        return "operator" if row.origin == Origin.MANUAL else "pairing"

    @display(description="Ends")
    def ends(self, row: AccessRule) -> SafeString | str:
        return when(row.expires_at)

    @display(description="Note")
    def note_excerpt(self, row: AccessRule) -> SafeString:
        return clamped(row.note)

    @display(description="Note")
    def full_note(self, row: AccessRule) -> SafeString | str:
        return long_text(row.note)

    @display(description="Written")
    def created(self, row: AccessRule) -> str:
        return f"{row.created_at:%Y-%m-%d %H:%M:%S}" + (f" by {row.created_by}" if row.created_by else "")

    @display(description="Changed")
    def changed(self, row: AccessRule) -> SafeString | str:
        return when(row.changed_at)
