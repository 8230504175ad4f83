"""What is made ready before the fleet starts: tables, static files, the schedule, roles, the first administrator."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError, connections, transaction

from gateway_app import schedule
from gateway_app.access import configuration
from gateway_app.access.audit import SYSTEM
from gateway_app.access.roles import ensure_roles, record_new
from gateway_app.config import live
from gateway_app.platforms.webchat.signin import make_link

ADMIN_NAME = "admin"


@dataclass(frozen=True, kw_only=True)
class Administrator:
    """The first administrator, with what is shown once and kept nowhere."""

    name: str
    password: str
    sign_in_link: str


def prepare() -> Administrator | None:
    """Brings the database and the static files up to date; returns the administrator if it had to make one.

    Raises ImproperlyConfigured if the database cannot be used. May run in any thread and any number of times.
    """
    try:
        call_command("migrate", interactive=False, verbosity=0)
        schedule.ensure()
        ensure_roles()
        configuration.note(live.config())
        made = ensure_administrator()
    except OperationalError as error:
        # The driver's message names address and reason, never the password.
        raise ImproperlyConfigured(f"DATABASE_URL: the database cannot be used: {str(error).strip()}") from None
    finally:
        connections.close_all()
    call_command("collectstatic", interactive=False, verbosity=0)
    return made


def ensure_administrator() -> Administrator | None:
    """Makes an administrator with a generated password where there is none; returns it only then."""
    users = User.objects
    with transaction.atomic():
        if users.filter(is_superuser=True).exists():
            return None
        password = secrets.token_urlsafe(15)
        user, _ = users.get_or_create(username=ADMIN_NAME)
        user.is_staff = user.is_superuser = user.is_active = True
        user.set_password(password)
        user.save()
        record_new(user=user, by=SYSTEM, reason="the first administrator")
    return Administrator(name=ADMIN_NAME, password=password, sign_in_link=make_link(user))
