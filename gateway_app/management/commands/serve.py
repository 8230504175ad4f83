from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand

from hermes_site import server


class Command(BaseCommand):
    help = "Runs the web process on HERMES_BIND: the web chat, the admin and the health checks."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        if not (settings.STATIC_ROOT / "staticfiles.json").exists():
            call_command("collectstatic", interactive=False, verbosity=0)
        host, port = settings.HERMES_BIND
        try:
            server.serve(host=host, port=port)
        except server.AddressTaken as error:
            raise CommandError(str(error)) from None
