"""What can be wrong with the configuration."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

LONGEST_FOUND = 120
"""Characters of a wrong value that an error repeats."""


class Wrong(ValueError):
    """A value that is not allowed. `allowed` says what is; `found` stands for the value where it must not be shown."""

    def __init__(self, allowed: str, *, found: str = "") -> None:
        super().__init__(allowed)
        self.allowed = allowed
        self.found = found


class BadFile(ImproperlyConfigured):
    """A file of the configuration that cannot be read, or must not be trusted. Names the file, never its content."""


def wrong(name: str, found: object, allowed: str, *, origin: str = "") -> ImproperlyConfigured:
    """The error for a setting with a wrong value."""
    return ImproperlyConfigured(said(name, cut(repr(found)), allowed, origin=origin))


def said(name: str, found: str, allowed: str, *, origin: str = "") -> str:
    """A wrong value in one line. `found` is already in words, or in quotes."""
    where = f" Found in: {origin}." if origin else ""
    return f"{name} is {found}; allowed: {allowed}.{where}"


def cut(text: str) -> str:
    """`text`, or its beginning where it is long."""
    return text if len(text) <= LONGEST_FOUND else f"{text[:LONGEST_FOUND]}…"
