"""Typed reading of environment variables, with errors that name the setting, what was found and what is allowed."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from gateway_app.fleet.record import running

ROOT = Path(__file__).resolve().parent.parent
TRUE_WORDS = frozenset({"true", "1", "yes", "on"})
FALSE_WORDS = frozenset({"false", "0", "no", "off"})
DOTENV_LINE = re.compile(r"(export )?[A-Za-z_][A-Za-z_0-9]*=")


class Environment:
    """Reads settings from `variables` (the process environment unless told otherwise). Empty means not set."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self.variables = os.environ if variables is None else variables

    def text(self, name: str, default: str = "") -> str:
        return self.variables.get(name, "").strip() or default

    def boolean(self, name: str, *, default: bool) -> bool:
        found = self.variables.get(name)
        if found is None:
            return default
        word = found.strip().lower()
        if not word:
            return default
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
        if not math.isfinite(value) or value < least or (most is not None and value > most):
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
        """A URL without its trailing slash. It may hold a password, so an error repeats only its scheme."""
        found = self.text(name, default)
        scheme, separator, rest = found.partition("://")
        allowed = "a URL that starts with " + ", ".join(f"{scheme}://" for scheme in schemes)
        if found and not (separator and scheme in schemes):
            raise wrong(name, f"{scheme}://…" if separator else "no URL", allowed)
        if found and not (rest.strip("/") and _is_readable(found)):
            raise wrong(name, f"{scheme}://…, which cannot be read", f"{allowed} and goes on as URLs do")
        return found.rstrip("/")

    def database(self, name: str, *, default: str) -> dict[str, Any]:
        """A Django DATABASES entry from a URL: `postgres://user:password@host:port/name` or `sqlite:///path`,
        where a relative path starts at the project's folder."""
        found = self.url(name, schemes=("postgres", "postgresql", "sqlite"), default=default)
        entry = dict(environ.Env.db_url_config(found))
        if not entry["NAME"]:
            raise wrong(name, "a URL without a database's name", "for example postgres://user:password@host:5432/name")
        if found.startswith("sqlite:"):
            if entry["NAME"] == ":memory:":
                raise wrong(name, found, "a file, since several processes share it, for example sqlite:////path/name")
            # Whatever folder a process starts in.
            entry["NAME"] = str(ROOT / entry["NAME"])
        return entry

    def bind(self, name: str, *, default: str) -> tuple[str, int]:
        found = self.text(name, default)
        host, _, port = found.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise wrong(name, found, "host:port, for example 127.0.0.1:8000")
        return host.strip("[]"), int(port)


def wrong(name: str, found: str, allowed: str) -> ImproperlyConfigured:
    """The error for a setting with a wrong value."""
    return ImproperlyConfigured(f"{name} is {found!r}; allowed: {allowed}.")


def load_dotenv(path: Path) -> None:
    """Adds the `KEY=value` lines of `path` to the process environment; what is already set there wins."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ImproperlyConfigured(f"{path} cannot be read: {reason}.") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#") and not DOTENV_LINE.match(line):
            # The line itself may hold a secret.
            raise ImproperlyConfigured(f"{path}, line {number}: allowed are KEY=value, # a comment, and an empty line.")
    environ.Env.read_env(io.StringIO(text), overwrite=False)


def load_runtime_record(path: Path) -> None:
    """Takes over the addresses of a running `manage.py up`, so that a command in a second terminal joins it.

    What is already set wins. The record counts only while the very process that wrote it lives.
    """
    if record := running(path):
        os.environ.update(record.joinable(os.environ))


def generated_secret(folder: Path, name: str) -> str:
    """The secret `name` kept in `folder`; made at random on first use, readable by its owner only.

    Two processes that start at once agree on one value: the file is made whole beside its place and
    linked there, which fails for all but the first.
    """
    path = folder / f"{name}.secret"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _place_secret(path)
        secret = path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"HERMES_HOME: {path} cannot be read or made: {error.strerror}; allowed: a folder this user can write to."
        ) from None
    if not secret:
        raise ImproperlyConfigured(f"{path} is empty; remove it to have a new secret made.")
    return secret


def _place_secret(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _is_readable(url: str) -> bool:
    try:
        urlsplit(url).port  # noqa: B018 (raises for a port that is no number)
    except ValueError:
        return False
    return True
