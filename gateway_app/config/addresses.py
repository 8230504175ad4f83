"""URLs and addresses as settings have them. A URL may hold a password, so that no error repeats it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ

from .errors import Wrong

ROOT = Path(__file__).resolve().parent.parent.parent
BIND_WORDS = "host:port, for example 127.0.0.1:8000"
TOKEN_WORDS = "number:secret, as BotFather gives it"  # noqa: S105 (words)
PLACEHOLDERS = re.compile(
    r"change_?me|replace_?me|placeholder|(insert_)?your_?(telegram_?)?(bot_?)?(token|key|secret)(_?here)?|x{3,}|\*{3,}|<.*>"
)
"""What stands in examples where a secret belongs, in lower case and with `_` for `-`."""
SHORTEST_TOKEN = 4


def url_reader(*schemes: str) -> Callable[[Any], str]:
    """Reads a URL with one of `schemes`, without its trailing slash."""

    def read(value: Any) -> str:
        return read_url(value, schemes=schemes)

    return read


def read_url(value: Any, *, schemes: tuple[str, ...]) -> str:
    found = value.strip() if isinstance(value, str) else ""
    scheme, separator, rest = found.partition("://")
    allowed = "a URL that starts with " + ", ".join(f"{scheme}://" for scheme in schemes)
    if found and not (separator and scheme in schemes):
        raise Wrong(allowed, found=repr(f"{scheme}://…" if separator and scheme.isalnum() else "no URL"))
    if not found and value != "":
        raise Wrong(allowed, found=repr("no URL"))
    if found and not (rest.strip("/") and _is_readable(found)):
        raise Wrong(f"{allowed} and goes on as URLs do", found=repr(f"{scheme}://…, which cannot be read"))
    return found.rstrip("/")


def read_database_url(value: Any) -> str:
    """`postgres://user:password@host:port/name` or `sqlite:///path`."""
    found = read_url(value, schemes=("postgres", "postgresql", "sqlite"))
    entry = environ.Env.db_url_config(found) if found else {"NAME": "default"}
    if not entry["NAME"]:
        example = "for example postgres://user:password@host:5432/name"
        raise Wrong(example, found=repr("a URL without a database's name"))
    if entry["NAME"] == ":memory:":
        raise Wrong("a file, since several processes share it, for example sqlite:////path/name", found=repr(found))
    return found


def database_entry(url: str) -> dict[str, Any]:
    """A Django DATABASES entry from a URL; the relative path of an SQLite file starts at the project's folder."""
    entry = dict(environ.Env.db_url_config(url))
    if url.startswith("sqlite:"):
        # Whatever folder a process starts in.
        entry["NAME"] = str(ROOT / entry["NAME"])
    return entry


def read_bind(value: Any) -> tuple[str, int]:
    """Host and port of `host:port`."""
    if isinstance(value, tuple):
        host, port = value
        return str(host), int(port)
    host, _, port = (value.strip() if isinstance(value, str) else "").rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise Wrong(BIND_WORDS)
    return host.strip("[]"), int(port)


def read_telegram_token(value: Any) -> str:
    """A bot's token; what stands for one in examples is refused, before it costs hours of looking."""
    token = value.strip() if isinstance(value, str) else None
    if token == "":
        return ""
    if token is None:
        raise Wrong(TOKEN_WORDS)
    secret = token.partition(":")[2]
    if len(token) < SHORTEST_TOKEN or _is_placeholder(token) or _is_placeholder(secret):
        raise Wrong(f"{TOKEN_WORDS}; this is a placeholder", found="'(not shown)'")
    if not re.fullmatch(r"[0-9]+:[^\s/?#%]+", token):
        raise Wrong(TOKEN_WORDS)
    return token


def _is_placeholder(word: str) -> bool:
    return "…" in word or "..." in word or PLACEHOLDERS.fullmatch(word.lower().replace("-", "_")) is not None


def shown(url: str) -> str:
    """`url` without the user, the password and the query that it may have."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    login = "…@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{login}{host}{parts.path}{'?…' if parts.query else ''}"


def _is_readable(url: str) -> bool:
    try:
        urlsplit(url).port  # noqa: B018 (raises for a port that is no number)
    except ValueError:
        return False
    return True
