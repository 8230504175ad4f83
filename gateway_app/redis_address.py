"""Where Redis is, in the words of its own client."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from django.conf import settings


def redis_address() -> str:
    """REDIS_URL as redis-py reads it; kombu has another name for a socket's path."""
    url: str = settings.REDIS_URL
    if not url.startswith("redis+socket://"):
        return url
    parts = urlsplit(url)
    return f"unix://{parts.path}?db={parse_qs(parts.query).get('virtual_host', ['0'])[0]}"
