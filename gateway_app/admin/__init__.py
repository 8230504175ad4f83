"""The operators' pages. They show rows and act on them only through the functions that the commands call as well."""

from __future__ import annotations

from django.contrib import admin

from . import (  # noqa: F401
    access_rule,
    account,
    audit,
    channel,
    compression,
    heartbeat,
    inbox,
    lane,
    listener,
    memory,
    memory_flush,
    outbox,
    pairing,
    person,
    question,
    schedule,
    send_gate,
    session,
    transcript,
    turn,
)

admin.site.index_template = "gateway_app/admin/dashboard.html"
admin.site.index_title = "Dashboard"
admin.site.enable_nav_sidebar = True
