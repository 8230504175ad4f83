"""The configuration in force in this process."""

from __future__ import annotations

from django.conf import settings

from gateway_app.config.schema import Config


def config() -> Config:
    return settings.CONFIG
