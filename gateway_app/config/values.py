"""Values in words: for errors, for the log and for people who ask. No secret is ever among them."""

from __future__ import annotations

from typing import Any

from . import addresses
from .catalogue import Setting, plain
from .entries import Entry
from .errors import cut
from .kinds import FLAG_WORDS

NOT_SHOWN = "set, not shown"
URL = "://"


def shown(setting: Setting, value: Any) -> str:
    """`value` of `setting` for people: a secret only as set or not, a URL without its password."""
    if value is None or value == "" or value == ():
        return "none"
    if isinstance(value, tuple) and isinstance(value[0], Entry):
        return ", ".join(entry.summary for entry in value)
    if isinstance(value, str) and URL in setting.kind.words:
        return addresses.shown(value)
    if setting.is_secret:
        return NOT_SHOWN
    if isinstance(value, bool):
        return str(value).lower()
    if setting.kind.words == "host:port":
        host, port = value
        return f"{f'[{host}]' if ':' in host else host}:{port}"
    if isinstance(value, tuple):
        return ", ".join(entry if isinstance(entry, str) else _entry(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _entry(entry: tuple[Any, ...]) -> str:
    """An exception from another setting, `group.mode: idle`, or a name with its values, `gpt-5-mini: 0.25 / 2`."""
    if len(entry) == 3:
        name, field, value = entry
        return f"{name}.{field}: {str(value).lower() if isinstance(value, bool) else value}"
    name, *values = entry
    return f"{name}: {' / '.join(map(str, values))}"


def default(setting: Setting) -> str:
    """The default of `setting`, as Markdown."""
    if setting.default_words:
        return setting.default_words
    value = setting.field.default
    if isinstance(value, int | float) and not isinstance(value, bool):
        return plain(value)
    if isinstance(value, bool) or not value:
        return shown(setting, value)
    return f"`{shown(setting, value)}`"


def found(setting: Setting, value: Any) -> str:
    """A wrong value as an error repeats it."""
    if setting.is_secret or URL in setting.kind.words:
        return "'(not shown)'"
    if isinstance(value, dict | list):
        return cut(f"'{value}'")
    return cut(repr(value) if isinstance(value, str) else repr(str(value)))


def allowed(setting: Setting) -> str:
    """What `setting` takes, for errors."""
    words = setting.kind.words
    if choices := setting.choices:
        return ", ".join(choices[:-1]) + f" or {choices[-1]}"
    if words == "true or false":
        return FLAG_WORDS
    if words in ("number", "whole number"):
        return f"a {words} of {setting.limits}"
    return f"a {words}"
