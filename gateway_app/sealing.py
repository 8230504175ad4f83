"""Seals texts that the database must not hold in clear, under a key made from SECRET_KEY.

A key that was replaced still opens what it sealed while it is among SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

import base64
import functools
import re
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.crypto import salted_hmac

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

CONTEXT = "gateway_app.sealing"
"""Keeps this key apart from every other that is made from SECRET_KEY."""
PLACEHOLDER = "(sealed)"
"""Shown in place of a sealed text."""
REVEALING_CHARS = 6
"""Words of a sealed text that are at least so long are taken out of errors."""


class CannotUnseal(Exception):
    """The text was sealed under a key that is no longer known, or was tampered with."""


def seal(text: str) -> str:
    """`text` encrypted and signed, as ASCII."""
    return _box(settings.SECRET_KEY, tuple(settings.SECRET_KEY_FALLBACKS)).encrypt(text.encode()).decode()


def unseal(token: str) -> str:
    """The text that `seal()` was given. Raises `CannotUnseal`."""
    from cryptography.fernet import InvalidToken

    try:
        return _box(settings.SECRET_KEY, tuple(settings.SECRET_KEY_FALLBACKS)).decrypt(token.encode()).decode()
    except InvalidToken:
        raise CannotUnseal("the key that sealed it is not known any more (HERMES_SECRET_KEY was changed)") from None


def redacted(words: str, *, secret: str) -> str:
    """`words`, such as a server's error, without the longer words of `secret` that they repeat."""
    for word in set(re.findall(rf"[^\W_]{{{REVEALING_CHARS},}}", secret)):
        words = words.replace(word, PLACEHOLDER)
    return words


@functools.lru_cache(maxsize=4)
def _box(key: str | bytes, fallbacks: tuple[str | bytes, ...]) -> MultiFernet:
    # Imported here, as only what seals pays for it.
    from cryptography.fernet import Fernet, MultiFernet

    return MultiFernet([Fernet(_derived(found)) for found in (key, *fallbacks)])


def _derived(key: str | bytes) -> bytes:
    return base64.urlsafe_b64encode(salted_hmac(CONTEXT, "outbox", secret=key, algorithm="sha256").digest())
