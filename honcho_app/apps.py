from __future__ import annotations

from django.apps import AppConfig


class HonchoAppConfig(AppConfig):
    name = "honcho_app"
    verbose_name = "Honcho"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Reads honcho.json, so that a wrong value stops the start as one of the other files does."""
        from . import configuration

        configuration.start()
