"""TCP ports on loopback for the embedded services, and the check that the site's own is free."""

from __future__ import annotations

import errno
import json
import random
import socket
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

PRIVATE_PORTS = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections, one of which could otherwise hold an embedded
service's port at the moment the service is started again."""


def kept_port(path: Path, name: str) -> int:
    """The port that `name` had at the last start, kept in the JSON file `path`, or a free one instead."""
    try:
        kept = {str(key): int(value) for key, value in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        kept = {}
    taken = {port for other, port in kept.items() if other != name}
    candidates = [port for port in (kept.get(name, 0),) if port in PRIVATE_PORTS]
    candidates += random.SystemRandom().sample(PRIVATE_PORTS, 200)
    port = next((port for port in candidates if port not in taken and refusal("127.0.0.1", port) is None), None)
    if port is None:
        raise ImproperlyConfigured("There is no free port on 127.0.0.1 for the embedded services.")
    path.write_text(json.dumps({**kept, name: port}))
    return port


def refusal(host: str, port: int) -> OSError | None:
    """Why a server could not listen on `host`:`port` now; None if it could."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def require_free(host: str, port: int) -> None:
    """Raises ImproperlyConfigured, naming HERMES_BIND, if the site cannot listen there."""
    error = refusal(host, port)
    if error is None:
        return
    reason = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
    raise ImproperlyConfigured(
        f"HERMES_BIND is {host}:{port}, but {reason}; allowed: an address of this machine and a free port, "
        f"for example HERMES_BIND=127.0.0.1:{port + 1 if port < 65535 else 8000}."
    )
