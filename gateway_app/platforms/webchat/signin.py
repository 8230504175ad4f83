"""Signing in: by password, or by a link that an operator prints and that works once."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

SALT = "gateway_app.platforms.webchat.signin"
USED = (
    "This sign-in link is not valid any more: it works once, for a limited time, and not after another sign-in."
    " An operator can print a new one with: manage.py signin_link"
)


class LinkRefused(Exception):
    """The link was changed, is too old, or was used."""


def make_link(user: User) -> str:
    """A link that signs in as `user` once, within SIGN_IN_LINK_SECONDS. It is a secret; print it, never log it.

    The next sign-in of the same person, by whichever way, and a new password make it void. The secret stands in
    the query, since Django logs the paths of requests that fail.
    """
    token = signing.TimestampSigner(salt=SALT).sign(f"{user.pk}-{_state(user)}")
    return f"{site_origin()}{reverse('sign-in-link')}?{urlencode({'token': token}, safe=':')}"


def site_origin() -> str:
    """Where a browser finds this site: the first of HERMES_TRUSTED_ORIGINS, else HERMES_BIND."""
    if settings.CSRF_TRUSTED_ORIGINS:
        first = urlsplit(settings.CSRF_TRUSTED_ORIGINS[0])
        return f"{first.scheme}://{first.netloc}"
    host, port = settings.HERMES_BIND
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (a comparison)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def owner() -> User | None:
    """The account that the first start made: the first administrator."""
    return User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()


def redeem(token: str) -> User:
    """Uses the link up and returns whom it signs in. Raises `LinkRefused`."""
    try:
        signed = signing.TimestampSigner(salt=SALT).unsign(
            token, max_age=timedelta(seconds=settings.SIGN_IN_LINK_SECONDS)
        )
    except signing.BadSignature:
        raise LinkRefused from None
    pk, _, state = signed.partition("-")
    people = User.objects.filter(pk=int(pk), is_active=True)
    user = people.first()
    if user is None or not constant_time_compare(state, _state(user)):
        raise LinkRefused
    # The link is bound to the last sign-in, so of two that use it at once only one finds that unchanged.
    if not people.filter(last_login=user.last_login).update(last_login=timezone.now()):
        raise LinkRefused
    user.refresh_from_db()
    return user


@require_safe
@never_cache
def sign_in_by_link(request: HttpRequest) -> HttpResponse:
    """Signs in and leads to the chat. A browser that only looks ahead does not use the link up."""
    if request.method == "HEAD" or "prefetch" in request.headers.get("Sec-Purpose", ""):
        return HttpResponse(status=204)
    try:
        user = redeem(request.GET.get("token", ""))
    except LinkRefused:
        if request.user.is_authenticated:
            return HttpResponseRedirect(reverse("webchat:index"))
        return render(request, "webchat/missing.html", {"reason": USED, "offers_sign_in": True}, status=410)
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[-1])
    return HttpResponseRedirect(reverse("webchat:index"))


def _state(user: User) -> str:
    """Changes when the person signs in or gets another password."""
    signed_in = user.last_login.isoformat() if user.last_login else ""
    return salted_hmac(SALT, f"{user.pk}/{user.password}/{signed_in}", algorithm="sha256").hexdigest()[:32]
