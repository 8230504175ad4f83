"""Takes secrets out of text that people are shown: those of the configuration, and whatever looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway_app.config.catalogue import SETTINGS
from gateway_app.config.schema import Config

HIDDEN = "•••"
SHORTEST = 6
"""Characters of a secret; to hide shorter ones would tear words apart that have nothing to do with them."""
SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_-]{30,}|\b\d{6,12}:[A-Za-z0-9_-]{30,}\b"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*",
    re.DOTALL,
)
"""Private keys, and the keys and tokens of well-known services."""
NAMED = re.compile(
    r"(?i)\b([\w-]*(?:api[_-]?key|token|secret|passw(?:or)?d|credential)s?[\w-]*[\"']?\s*[:=]\s*[\"']?)[^\s\"',;]{3,}"
)
"""What stands behind a name that says so."""
CREDENTIALS = re.compile(r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)|(?i:(?<=\bbearer ))[A-Za-z0-9._~+/=-]{8,}")
"""A user and password in an address, and a bearer token."""


def redacted(text: str, *, config: Config) -> str:
    """`text` without secrets. What nobody could tell for one stays."""
    for secret in _known(config):
        text = text.replace(secret, HIDDEN)
    text = SHAPES.sub(HIDDEN, text)
    text = CREDENTIALS.sub(HIDDEN, text)
    return NAMED.sub(rf"\1{HIDDEN}", text)


def _known(config: Config) -> Iterable[str]:
    """The secrets of the configuration, the longest first, so that one within another leaves nothing of it."""
    found = {str(setting.of(config)) for setting in SETTINGS if setting.is_secret and setting.entry is None}
    return sorted((secret for secret in found if len(secret) >= SHORTEST), key=len, reverse=True)
