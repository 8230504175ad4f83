"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import hmac
import ipaddress
import logging

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from . import checks, exposition

log = logging.getLogger(__name__)

_failing: list[str] = []

PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
"""A request with one of these was passed on by a proxy on this machine and may come from anywhere."""


@never_cache
@require_safe
async def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers. Nothing else is asked, so that a database that is down restarts no web process."""
    return JsonResponse({"ok": True})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Whether messages get through: 200 or 503, with each check. Operators also see what listeners report."""
    readiness = checks.read()
    _log_change([check for check in readiness.checks if not check.ok])
    response = JsonResponse(readiness.to_json(for_operator=is_operator(request)), status=200 if readiness.ok else 503)
    # Django would log each 503, and probes come every few seconds.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus."""
    if not is_operator(request):
        denied = HttpResponse(
            "Metrics are for callers on this machine, or with HERMES_METRICS_TOKEN as bearer token where it is set.\n",
            content_type="text/plain; charset=utf-8",
            status=401 if settings.METRICS_TOKEN else 403,
        )
        if settings.METRICS_TOKEN:
            denied["WWW-Authenticate"] = "Bearer"
        return denied
    body, content_type = exposition.expose(accept=request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)


def _log_change(failing: list[checks.Check]) -> None:
    """Says in the log what fails when that changes, not at each probe."""
    global _failing
    names = [check.name for check in failing]
    if names != _failing:
        _failing = names
        if failing:
            log.error("Not ready: %s.", "; ".join(f"{check.name}: {check.detail}" for check in failing))
        else:
            log.info("Ready.")


def is_operator(request: HttpRequest) -> bool:
    """Whether the caller has the token or, where none is set, is on this machine.

    Asks no database: these pages must answer without one.
    """
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        return hmac.compare_digest(given, f"Bearer {settings.METRICS_TOKEN}".encode())
    if any(name in request.headers for name in PROXY_HEADERS):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
