"""Another configuration for the length of a test."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.test import override_settings

from gateway_app.config.schema import Config


class configured(override_settings):
    """`configured(access={"platforms": {"telegram": {"allow_all_users": True}}})`, as decorator or context manager.

    The changes are merged into the configuration in force, level by level, and validated. One in another adds to it.
    """

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.changes = changes

    def decorate_class(self, cls: Any) -> Any:
        self.options = {"CONFIG": settings.CONFIG.changed(**self.changes)}
        return super().decorate_class(cls)

    def enable(self) -> None:
        config: Config = settings.CONFIG
        self.options = {"CONFIG": config.changed(**self.changes)}
        super().enable()


def open_to_all(platform: str) -> configured:
    """Lets everybody speak on one platform."""
    return configured(access={"platforms": {platform: {"allow_all_users": True}}})
