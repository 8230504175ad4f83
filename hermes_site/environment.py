"""Typed reading of environment variables, with errors that name the setting, what was found and what is allowed."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = frozenset({"true", "1", "yes", "on"})
FALSE_WORDS = frozenset({"false", "0", "no", "off", ""})


class Environment:
    """Reads settings from `variables` (the process environment unless told otherwise)."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self.variables = os.environ if variables is None else variables

    def text(self, name: str, default: str = "") -> str:
        return self.variables.get(name, "").strip() or default

    def boolean(self, name: str, *, default: bool) -> bool:
        found = self.variables.get(name)
        if found is None:
            return default
        word = found.strip().lower()
        if word in TRUE_WORDS:
            return True
        if word in FALSE_WORDS:
            return False
        raise wrong(name, found, "true, 1, yes, on, false, 0, no or off")

    def number(self, name: str, *, default: float, least: float = 0, most: float | None = None) -> float:
        found = self.text(name)
        if not found:
            return default
        allowed = f"a number of at least {least:g}" + (f" and at most {most:g}" if most is not None else "")
        try:
            value = float(found)
        except ValueError:
            raise wrong(name, found, allowed) from None
        if not value >= least or (most is not None and value > most):
            raise wrong(name, found, allowed)
        return value

    def whole(self, name: str, *, default: int, least: int = 0, most: int | None = None) -> int:
        value = self.number(name, default=default, least=least, most=most)
        if value != int(value):
            raise wrong(name, self.text(name), "a whole number")
        return int(value)

    def words(self, name: str) -> list[str]:
        """A comma-separated list; blanks and empty items are dropped."""
        return [item.strip() for item in self.variables.get(name, "").split(",") if item.strip()]

    def url(self, name: str, *, schemes: tuple[str, ...], default: str = "") -> str:
        found = self.text(name, default)
        scheme, separator, _ = found.partition("://")
        if found and not (separator and scheme in schemes):
            # A URL may hold a password: only its scheme is repeated.
            allowed = "a URL that starts with " + ", ".join(f"{scheme}://" for scheme in schemes)
            raise wrong(name, f"{scheme}://…" if separator else "no URL", allowed)
        return found.rstrip("/")

    def database(self, name: str, *, default: str) -> dict[str, Any]:
        """A Django DATABASES entry from a URL: `postgres://…` or `sqlite:///path`."""
        found = self.url(name, schemes=("postgres", "postgresql", "sqlite"), default=default)
        return dict(environ.Env.db_url_config(found))

    def bind(self, name: str, *, default: str) -> tuple[str, int]:
        found = self.text(name, default)
        host, _, port = found.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise wrong(name, found, "host:port, for example 127.0.0.1:8000")
        return host.strip("[]"), int(port)


def wrong(name: str, found: str, allowed: str) -> ImproperlyConfigured:
    """The error for a setting with a wrong value."""
    return ImproperlyConfigured(f"{name} is {found!r}; allowed: {allowed}.")


def load_dotenv(path: Path) -> None:
    """Adds `KEY=value` lines of `path` to the process environment; what is already set there wins."""
    if path.is_file():
        environ.Env.read_env(str(path), overwrite=False)


def load_runtime_record(path: Path) -> None:
    """Takes over the addresses of the embedded services of a running `manage.py up`.

    So that `manage.py chat` in a second terminal finds the same broker and model. Variables already set win.
    The record is only believed while the process that wrote it lives; see `gateway_app.fleet.record`.
    """
    try:
        record = json.loads(path.read_text())
        pid = int(record["pid"])
        addresses = dict(record["environment"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if not Path(f"/proc/{pid}").exists():
        return
    for name, value in addresses.items():
        os.environ.setdefault(str(name), str(value))


def generated_secret(folder: Path, name: str) -> str:
    """The secret `name` kept in `folder`; made at random on first use, readable by its owner only.

    Two processes that start at once agree on one value: the file is made whole beside its place and
    linked there, which fails for all but the first.
    """
    path = folder / f"{name}.secret"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(50))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()
