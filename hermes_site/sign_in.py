"""Guessing passwords: what a browser's address is, and what somebody is told who has guessed too often.

The counting is django-axes'; see its settings. It counts by user name and address together, so that nobody can lock
somebody else out from afar.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from gateway_app.duration import duration

IPV6_PREFIX = 64
"""Bits of an IPv6 address that tell one customer from another; the rest they choose, anew each time if they like."""
LONGEST_NAME = 150
"""Characters of a user name."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_address(request: HttpRequest) -> str | None:
    """The address that a request comes from, with an IPv6 one cut to its network; None where there is none.

    X-Forwarded-For is what anybody writes into it: of what it says only the part counts that proxies in
    HERMES_TRUSTED_PROXIES have added, from the right.
    """
    found = _parsed(request.META.get("REMOTE_ADDR", ""))
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    while found and forwarded and _is_trusted(found):
        before = _parsed(forwarded.pop())
        if before is None:
            break
        found = before
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False).network_address)
    return str(found) if found else None


def counted_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The user name under which a wrong password is counted. Django looks for one of any length; none is longer."""
    name = (credentials or request.POST).get("username") or ""
    return str(name)[:LONGEST_NAME]


def locked_out(request: HttpRequest, *_: Any) -> HttpResponse:
    """The answer to whoever has given too many wrong passwords, with how long they have to wait."""
    name = counted_name(request, getattr(request, "axes_credentials", None))
    attempts = AccessAttempt.objects.filter(username=name, ip_address=client_address(request))
    latest = attempts.aggregate(latest=Max("attempt_time"))["latest"]
    passed = (timezone.now() - latest).total_seconds() if latest else 0.0
    seconds = max(1, round(settings.LOGIN_LOCK_SECONDS - passed))
    context = {"wait": duration(seconds)}
    response = render(request, "locked_out.html", context, status=429)
    response.headers["Retry-After"] = str(seconds)
    return response


def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_trusted(address: Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)
