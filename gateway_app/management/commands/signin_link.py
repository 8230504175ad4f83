from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management import CommandError
from django.core.management.base import BaseCommand, CommandParser

from gateway_app.platforms.webchat import signin


class Command(BaseCommand):
    help = "Prints a link that signs in to the web chat once, as the owner or as the user named."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", help="whom the link signs in; the first administrator if left out")

    def handle(self, *args: Any, username: str | None, **options: Any) -> None:
        people = User.objects.filter(is_active=True)
        user = people.filter(username=username).first() if username else signin.owner()
        if user is None:
            names = ", ".join(people.order_by("pk").values_list("username", flat=True)[:20]) or "nobody yet"
            raise CommandError(
                f"There is no active user {username!r}; there are: {names}."
                if username
                else "There is no administrator yet; make one with: manage.py createsuperuser"
            )
        self.stdout.write(signin.make_link(user))
