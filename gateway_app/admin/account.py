"""Who may come in to these pages and what they may do there, and what operators did."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from gateway_app.access import roles
from gateway_app.access.roles import Rights

from .access import REASON_CHARS, actor
from .base import ReadOnlyAdmin, when

admin.site.unregister([User, Group])

PLAIN = ["first_name", "last_name", "email"]
"""What may be changed of an account without changing what it may do."""


class AccountForm(UserChangeForm):  # type: ignore[misc]
    """Says what is against the rights that were chosen; what the person may not choose stays as it is."""

    request: HttpRequest
    reason = forms.CharField(
        required=False, max_length=REASON_CHARS, widget=UnfoldAdminTextInputWidget,
        help_text="Why the rights are changed, for the audit.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            granter = self.request.user
            assert isinstance(granter, User)
            roles.check(user=self.instance, rights=self.rights(), granter=granter)
        return given

    def rights(self) -> Rights:
        given, old = self.cleaned_data, roles.rights_of(self.instance)
        permissions = old.permissions
        if "user_permissions" in given:
            chosen = given["user_permissions"].select_related("content_type")
            permissions = frozenset(f"{row.content_type.app_label}.{row.codename}" for row in chosen)
        return Rights(
            is_active=given.get("is_active", old.is_active),
            is_staff=given.get("is_staff", old.is_staff),
            is_superuser=given.get("is_superuser", old.is_superuser),
            groups=frozenset(group.name for group in given["groups"]) if "groups" in given else old.groups,
            permissions=permissions,
        )


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    form = AccountForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "role_names", "is_superuser", "is_staff", "is_active", "last_login"]
    readonly_fields = ["last_login", "date_joined"]
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": [("first_name", "last_name"), "email"]}),
        (
            "Rights",
            {"fields": ["groups", ("is_active", "is_staff", "is_superuser"), "user_permissions", "reason"]},
        ),
        ("Dates", {"fields": [("last_login", "date_joined")]}),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type("BoundAccountForm", (form,), {"request": request}) if obj else form

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        fixed = list(super().get_readonly_fields(request, obj))
        if obj:
            fixed.append("username")  # by which the audit names the account
        return fixed if request.user.is_superuser else [*fixed, "is_superuser", "user_permissions"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """With somebody's password one has their rights: so those of whoever may do more are not for one to change."""
        if not super().has_change_permission(request, obj):
            return False
        granter = request.user
        return obj is None or (isinstance(granter, User) and roles.may_manage(granter=granter, user=obj))

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        # The audit and the history name accounts: one that is not wanted any more is made inactive.
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        assert isinstance(request.user, User)
        if not change:
            obj.save()
            roles.record_new(user=obj, by=actor(request))
            return
        reason = form.cleaned_data.get("reason", "")
        try:
            roles.change_rights(user=obj, rights=form.rights(), by=actor(request), granter=request.user, reason=reason)
        except (
            ValidationError
        ) as error:  # somebody changed the account, or the person's own, after the form was checked
            raise PermissionDenied(" ".join(error.messages)) from None
        obj.save(update_fields=PLAIN)

    @display(description="Roles")
    def role_names(self, row: User) -> str:
        return ", ".join(sorted(group.name for group in row.groups.all())) or "–"


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    """The roles are what the code says they are (`gateway_app.access.roles`), so that groups are only looked at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    list_display = ["at", "user", "content_type", "object_repr", "what"]
    list_select_related = ["user", "content_type"]
    search_fields = ["user__username__exact", "object_id__exact"]
    search_help_text = "User name, or the row's number"
    fieldsets = [(None, {"fields": ["at", "user", "content_type", "object_id", "object_repr", "what"]})]

    @display(description="When")
    def at(self, row: LogEntry) -> SafeString | str:
        return when(row.action_time)

    @display(description="What")
    def what(self, row: LogEntry) -> str:
        return row.get_change_message() or row.get_action_flag_display()
