"""What the configuration says about access, audited like any other change of it: each setting that changed, once.

Nobody is there at the moment somebody edits a file or a unit. So what was last seen is kept, for each host since
hosts may be configured apart, and compared when the gateway is prepared and every minute by the clock.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from django.db import transaction

from gateway_app.access import audit
from gateway_app.access.audit import Actor
from gateway_app.config.catalogue import SETTINGS
from gateway_app.config.schema import Config
from gateway_app.models import AccessState
from gateway_app.models.audit import AuditAction, Door

HOSTS = 50
"""Hosts whose configuration is kept in mind; the one that was looked at longest ago is forgotten first."""

Said = dict[str, Any]
"""Values by the variable of their setting."""


def note(config: Config, *, host: str = "") -> int:
    """Writes an audit row for each setting of access that says something else than when last looked at.

    What a host says that was not seen before is compared with what was seen last anywhere. The very first look writes
    a row for each setting that somebody has given a value. Returns how many rows were written.
    """
    host = host or socket.gethostname()
    said = _said(config)
    if _known().get(host) == said:
        return 0
    with transaction.atomic():
        ledger = audit.open_ledger()
        known = _known()
        before = known.pop(host) if host in known else next(reversed(known.values()), {})
        by = Actor(f"configuration of {host}", Door.CONFIGURATION)
        changes = list(_changes(before, said, config))
        for variable, old, new in changes:
            ledger.write(
                action=AuditAction.CONFIGURATION_CHANGED, by=by, subject=variable, before={"value": old},
                after={"value": new}, reason=config.origin(variable),
            )  # fmt: skip
        kept = [*known.items(), (host, said)][-HOSTS:]
        AccessState.objects.filter(pk=AccessState.ONLY).update(configuration={"hosts": [list(pair) for pair in kept]})
    return len(changes)


def _known() -> dict[str, Said]:
    """What each host said, the one that was looked at last at the end."""
    state = AccessState.objects.filter(pk=AccessState.ONLY).values_list("configuration", flat=True).first()
    return dict((state or {}).get("hosts", []))


def _said(config: Config) -> Said:
    found = {setting.variable: setting.of(config) for setting in SETTINGS if _is_of_access(setting.path)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _is_of_access(path: tuple[str, ...]) -> bool:
    return path[0] == "access" and path[-1] != "check_seconds"


def _changes(before: Said, after: Said, config: Config) -> Iterator[tuple[str, Any, Any]]:
    for variable, value in after.items():
        if variable in before and before[variable] != value:
            yield variable, before[variable], value
        elif variable not in before and config.is_given(variable):
            yield variable, None, value
