"""What a server is started or reached with, once the references of its configuration are filled in, and what of that
must never be shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway_app.config.schema.mcp import McpServer

from .problem import McpProblem

REFERENCE = re.compile(r"\$\{(?:file:(?P<path>[^}]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*))\}")
SECRET_NAME = re.compile(r"key|token|secret|password|passwd|auth|cookie|credential", re.IGNORECASE)
SHORTEST_SECRET = 6
"""Characters; to hide shorter ones would tear words apart that have nothing to do with them."""
LARGEST_SECRET = 64 * 1024
"""Bytes of a referenced file; a larger one is the wrong file."""
HIDDEN = "•••"
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE")
"""What a server's process gets of the gateway's environment, which holds the secrets of the gateway too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A server's configuration with its references filled in."""

    args: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    url: str
    headers: Mapping[str, str]
    hidden: tuple[str, ...]

    def masked(self, text: str) -> str:
        """`text` without the secrets that the server was given."""
        for secret in self.hidden:
            text = text.replace(secret, HIDDEN)
        return text


def access_of(server: McpServer, *, folder: Path, environment: Mapping[str, str] | None = None) -> Access:
    """What `server` is started or reached with; it runs in `folder` unless it has one of its own.

    Raises `McpProblem` for a reference to something that is not there.
    """
    given = os.environ if environment is None else environment
    hidden: set[str] = set()

    def filled(text: str) -> str:
        def value(reference: re.Match[str]) -> str:
            found = _referenced(reference, given)
            hidden.add(found)
            return found

        return REFERENCE.sub(value, text)

    secrets = {**server.env, **server.headers}
    texts = {name: filled(value.get_secret_value()) for name, value in secrets.items()}
    hidden |= {text for name, text in texts.items() if SECRET_NAME.search(name)}
    args, url = tuple(map(filled, server.args)), filled(server.url)
    own = {name: given[name] for name in INHERITED if name in given}
    return Access(
        args=args,
        cwd=Path(server.cwd).expanduser() if server.cwd else folder,
        env=own | {name: texts[name] for name in server.env},
        url=url,
        headers={name: texts[name] for name in server.headers},
        # The longest first, so that one within another leaves nothing of it.
        hidden=tuple(sorted((text for text in hidden if len(text) >= SHORTEST_SECRET), key=len, reverse=True)),
    )


def _referenced(reference: re.Match[str], environment: Mapping[str, str]) -> str:
    if name := reference["name"]:
        if name not in environment:
            raise McpProblem(f"its configuration refers to the variable {name}, which is not set")
        return environment[name]
    path = Path(reference["path"]).expanduser()
    try:
        with path.open("rb") as file:
            found = file.read(LARGEST_SECRET + 1)
        text = found.decode().strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise McpProblem(f"its configuration refers to the file {path}, which cannot be read: {reason}") from None
    if not text or len(found) > LARGEST_SECRET or "\n" in text or "\0" in text:
        raise McpProblem(f"its configuration refers to the file {path}, which does not hold one line")
    return text
