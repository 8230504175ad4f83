from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from gateway_app.fleet.preparation import prepare


class Command(BaseCommand):
    help = (
        "Makes the database and the static files ready: tables, beat's schedule, the staff's roles and, where there is"
        " none, the first administrator, whose password is shown once. Run it before a first start on several machines"
        " and after each upgrade; `manage.py up` does the same by itself. Safe to run again and while the fleet works."
    )
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        administrator = prepare()
        self.stdout.write("The database and the static files are up to date.")
        if administrator:
            self.stdout.write(f"User      {administrator.name}\nPassword  {administrator.password}")
            self.stdout.write(f"Sign in   {administrator.sign_in_link}")
