"""Another configuration for the length of a test."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.test import override_settings

from gateway_app.config.schema import Config


def configured(**changes: Any) -> override_settings:
    """Overrides parts of the configuration, such as `access={"platforms": {"telegram": {"allow_all_users": True}}}`."""
    return override_settings(CONFIG=Config.model_validate(_merged(settings.CONFIG.model_dump(), changes)))


def open_to_all(platform: str) -> override_settings:
    """Lets everybody speak on one platform."""
    return configured(access={"platforms": {platform: {"allow_all_users": True}}})


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        merged[key] = _merged(old.get(key) or {}, value) if isinstance(value, dict) else value
    return merged
