"""What beat publishes by the clock. The settings own the entries; an operator may switch one off."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django_celery_beat import admin as _pages  # noqa: F401  (registers what is taken off below)
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin
from unfold.decorators import display

from .base import when

admin.site.unregister([PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule])


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ["name", "enabled", "scheduler", "last_run", "total_run_count"]
    list_select_related = ["interval", "crontab", "solar", "clocked"]
    list_fullwidth = True
    ordering = ["name"]
    fields = ["name", "enabled", "description", "task", "scheduler", "queue", "expire_seconds", "last_run"]
    readonly_fields = ["name", "description", "task", "scheduler", "queue", "expire_seconds", "last_run"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @display(description="Schedule")
    def scheduler(self, row: PeriodicTask) -> str:
        return str(row.scheduler)

    @display(description="Last run")
    def last_run(self, row: PeriodicTask) -> SafeString | str:
        return when(row.last_run_at)
