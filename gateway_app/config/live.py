"""The configuration in force in this process."""

from __future__ import annotations

from django.conf import settings

from .schema import Config


def config() -> Config:
    """The configuration in force. An immutable object: another one takes its place where a file changes."""
    found: Config = settings.CONFIG
    return found
