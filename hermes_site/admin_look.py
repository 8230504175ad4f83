"""How the admin looks: django-unfold's settings. What is in its menu is in `gateway_app.admin.navigation`."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static

PRIMARY = {
    "50": "oklch(98.4% .014 180.72)",
    "100": "oklch(95.3% .051 180.801)",
    "200": "oklch(91% .096 180.426)",
    "300": "oklch(85.5% .138 181.071)",
    "400": "oklch(77.7% .152 181.912)",
    "500": "oklch(70.4% .14 182.503)",
    "600": "oklch(51.1% .096 186.391)",
    "700": "oklch(43.7% .078 188.216)",
    "800": "oklch(38.6% .063 188.416)",
    "900": "oklch(33% .054 188.6)",
    "950": "oklch(27.7% .046 192.524)",
}
"""The chat's teal. 600 is darker than in the usual scale, so that white text on it can be read."""


def stylesheet(request: HttpRequest) -> str:
    return static("gateway_app/admin.css")


def icon(request: HttpRequest) -> str:
    return static("webchat/icon.svg")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Hermes gateway",
    "SITE_HEADER": "Hermes gateway",
    "SITE_SYMBOL": "forum",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": icon}],
    "COLORS": {"primary": PRIMARY},
    "STYLES": [stylesheet],
    "DASHBOARD_CALLBACK": "gateway_app.admin.dashboard.with_dashboard",
    "SIDEBAR": {"navigation": "gateway_app.admin.navigation.sidebar"},
    "TABS": "gateway_app.admin.navigation.tabs",
}
