"""Exceptions from the settings of `session_reset`: for kinds of chats, and for platforms."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any

from gateway_app.config.errors import Wrong, cut
from gateway_app.config.kinds import Kind, read_flag, read_whole, read_word
from gateway_app.sessions.source import ChatType

from .platforms import PLATFORMS

MODES = ("none", "idle", "daily", "both")
LONGEST_IDLE_MINUTES = 5_256_000
"""Ten years: who wants more wants no reset."""

Entry = tuple[str, str, str | int | bool]
"""Whom it is for, which setting, and its value."""


def _mode(value: Any) -> str:
    word = read_word(value)
    if word not in MODES:
        raise Wrong(f"{', '.join(MODES[:-1])} or {MODES[-1]}")
    return word


def _whole(*, least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = read_whole(value)
        if not least <= number <= most:
            raise Wrong(f"a whole number of at least {least:,} and at most {most:,}")
        return number

    return read


FIELDS: dict[str, Callable[[Any], str | int | bool]] = {
    "mode": _mode,
    "at_hour": _whole(least=0, most=23),
    "idle_minutes": _whole(least=1, most=LONGEST_IDLE_MINUTES),
    "notify": read_flag,
}


def reader(names: Collection[str]) -> Callable[[Any], tuple[Entry, ...]]:
    """Reads `{name: {setting: value}}`, from a file or as JSON in a variable."""

    def read(value: Any) -> tuple[Entry, ...]:
        if isinstance(value, tuple):
            return value  # it was read before
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise Wrong('names with settings, in a variable as JSON: {"group": {"mode": "idle"}}') from None
        return tuple(entry for name, changes in _items(value, names) for entry in _entries(str(name), changes))

    def _entries(name: str, changes: Any) -> list[Entry]:
        found: list[Entry] = []
        for field, value in _items(changes, FIELDS):
            try:
                found.append((name, field, FIELDS[field](value)))
            except Wrong as wrong:
                raise Wrong(wrong.allowed, found=cut(f"{name}.{field} {value!r}")) from None
        return found

    return read


def _items(value: Any, names: Collection[str]) -> list[tuple[str, Any]]:
    words = ", ".join(names)
    if not isinstance(value, Mapping):
        raise Wrong(f"a mapping with some of {words}", found=cut(repr(value)))
    for name in value:
        if name not in names:
            raise Wrong(f"a mapping with some of {words}", found=cut(f"one with {name!r}"))
    return list(value.items())


ByType = Annotated[tuple[Entry, ...], Kind("mapping of kinds of chats", reader([kind.value for kind in ChatType]))]
ByPlatform = Annotated[tuple[Entry, ...], Kind("mapping of platforms", reader(PLATFORMS))]
