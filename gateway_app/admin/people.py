"""Who may come in, and what operators did."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from .base import ReadOnlyAdmin, when

admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass


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
