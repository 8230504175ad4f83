"""Reads the files of the configuration, and refuses what others could have written or what is not whole."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import environ

from .errors import BadFile

DOTENV = ".env"
YAML = "config.yaml"
JSON = "gateway.json"
NAMES = (DOTENV, YAML, JSON)
"""The files in HERMES_HOME, the strongest first."""

LARGEST_BYTES = 1024 * 1024
"""A configuration that is larger is none."""
DOTENV_LINE = re.compile(r"(export )?[A-Za-z_][A-Za-z_0-9]*=")


Stamp = tuple[int, int, int]
"""What changes with a file: its time of change (ns), its size, its inode."""
Stamps = tuple[Stamp | None, ...]
"""The stamp of each of the `NAMES`; None where there is no such file."""


def stamps(home: Path) -> Stamps:
    """The stamps of the files in `home` as they are now."""
    return tuple(stamp(home / name) for name in NAMES)


def stamp(path: Path) -> Stamp | None:
    """The stamp of the file at `path` as it is now; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_text(path: Path) -> str | None:
    """The text of the file at `path`; None where there is none.

    Raises BadFile for one that cannot be read, is not UTF-8, or belongs to or can be written by somebody else.
    """
    try:
        # A pipe would have the process wait until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "rb") as file:
            _check(path, os.fstat(descriptor))
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > LARGEST_BYTES:
        raise BadFile(f"{path} cannot be read: it is larger than {LARGEST_BYTES:,} bytes.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadFile(f"{path}, line {line}: it is not UTF-8.") from None


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadFile(f"{path} cannot be read: {'Is a directory' if stat.S_ISDIR(found.st_mode) else 'it is no file'}.")
    user = os.geteuid()
    trusted = {0, user}
    if user == 0:
        # Root may look at somebody's installation, whose files are theirs.
        trusted.add(path.parent.stat().st_uid)
    if found.st_uid not in trusted:
        raise BadFile(
            f"{path} belongs to the user with number {found.st_uid}; allowed: this process's own, {user}, or root."
        )
    if found.st_mode & stat.S_IWOTH:
        raise BadFile(f"{path} can be written by everybody (mode {found.st_mode & 0o7777:o}); allowed: chmod o-w.")


def read_dotenv(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of the file at `path`; empty where there is none. Raises BadFile."""
    text = read_text(path)
    if text is None:
        return {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#") and not DOTENV_LINE.match(line):
            # The line itself may hold a secret.
            raise BadFile(f"{path}, line {number}: allowed are KEY=value, # a comment, and an empty line.")
        if "\0" in line:
            raise BadFile(f"{path}, line {number}: there is a NUL in it.")
    lines: dict[str, str] = {}
    reader: Any = type("Lines", (environ.Env,), {"ENVIRON": lines})
    reader.read_env(io.StringIO(text))
    return lines


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file at `path`; empty where there is none. Raises BadFile."""
    text = read_text(path)
    if text is None or not text.strip():
        return {}
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise BadFile(f"{path}, line {error.lineno}: {error.msg}.") from None
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path} cannot be read: {_reason(error)}.") from None
    return _mapping(path, found)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in the file at `path`; empty where there is none. Raises BadFile."""
    text = read_text(path)
    if text is None or not text.strip():
        return {}
    from . import yaml_file

    try:
        found = yaml_file.load(text)
    except yaml_file.Broken as error:
        raise BadFile(f"{path}, line {error.line}: {error.reason}.") from None
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path} cannot be read: {_reason(error)}.") from None
    return _mapping(path, found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error).split(";")[0]


def _mapping(path: Path, found: Any) -> dict[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadFile(f"{path}, line 1: the file is a {type(found).__name__}; allowed: keys with values.")
    return found
