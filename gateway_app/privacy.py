"""Stand-ins for ids that the model need not know, where `privacy.redact_pii` is on. Routing never sees them."""

from __future__ import annotations

from django.utils.crypto import salted_hmac

SALT = "gateway_app.privacy"
"""Keeps these apart from all else that is made from SECRET_KEY, without which nobody can try telephone numbers out."""
LENGTH = 12
"""Hexadecimal digits: enough to tell people apart, too few to mean anything."""


def stand_in(kind: str, *, platform: str, value: str) -> str:
    """The same for the same id on the same platform: `user_3f9c02b7a1de`."""
    digest = salted_hmac(SALT, f"{platform}\0{value}", algorithm="sha256").hexdigest()
    return f"{kind}_{digest[:LENGTH]}"
