"""Who uses the command line."""

from __future__ import annotations

import getpass

from gateway_app.access.audit import Actor
from gateway_app.models.audit import Door


def operator() -> Actor:
    """The person at the terminal, by the name the system knows them by, for the audit."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        name = "command line"
    return Actor(name, Door.COMMAND_LINE)
