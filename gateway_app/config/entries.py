"""Mappings of free names to settings of their own: `mcp_servers: {time: {command: …}}`.

What stands under a name is a section, whose fields are documented and checked as those of any other. The whole is kept
as a tuple of entries in their order, which a new configuration replaces as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import SecretStr, ValidationError

from .errors import Wrong, cut
from .kinds import Kind
from .setting import Section

E = TypeVar("E", bound="Entry")
MOST_PROBLEMS = 5
"""Problems that one error names."""
SECRETS_WORDS = "mapping of names to texts"
ARGUMENTS_WORDS = "list of texts"


class Entry(Section):
    """What stands under one name of a mapping."""

    name: str

    @property
    def summary(self) -> str:
        """The entry in a few words; no secret is among them."""
        return self.name


def reader(kind: type[E], *, words: str) -> Callable[[Any], tuple[E, ...]]:
    """Reads a mapping of names to `kind`, from a file, or as JSON from a variable."""

    def read(value: Any) -> tuple[E, ...]:
        entries, problems = [], []
        for name, fields in _items(value, words):
            try:
                entries.append(kind.model_validate({**fields, "name": name}))
            except ValidationError as error:
                problems += list(_problems(error, kind, name))
        if problems:
            places = ", ".join(place for place, _ in problems[:MOST_PROBLEMS])
            allowed = "; ".join(f"{place}: {text}" for place, text in problems[:MOST_PROBLEMS])
            raise Wrong(allowed, found=f"wrong at {places}")
        return tuple(entries)

    return read


def _items(value: Any, words: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Wrong(f"a {words}, as JSON", found="no JSON") from None
    if isinstance(value, tuple):  # one that has been read already
        read = [entry.model_dump() if isinstance(entry, Entry) else entry for entry in value]
        value = {fields["name"]: {name: item for name, item in fields.items() if name != "name"} for fields in read}
    if not isinstance(value, Mapping):
        raise Wrong(f"a {words}", found=f"a {type(value).__name__}")
    for name, fields in value.items():
        if not isinstance(fields, Mapping) or "name" in fields:
            raise Wrong(f"a {words}", found=f"wrong at {cut(str(name))!r}")
        yield str(name), {str(key): item for key, item in fields.items() if item is not None}


def _problems(error: ValidationError, kind: type[Entry], name: str) -> Iterator[tuple[str, str]]:
    """Each problem's place and what is allowed there. What was found is not repeated: it may be a secret."""
    for detail in error.errors(include_url=False, include_input=False):
        place = ".".join([cut(name), *(cut(str(part)) for part in detail["loc"] if part != "name")])
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, Wrong):
            allowed = cause.allowed
        elif detail["type"] == "extra_forbidden":
            allowed = f"no such key; there are {', '.join(field for field in kind.model_fields if field != 'name')}"
        else:
            allowed = detail["msg"]
        yield place, allowed


def read_secrets(value: Any) -> dict[str, SecretStr]:
    """Names with values that are never shown."""
    if not isinstance(value, Mapping):
        raise Wrong(f"a {SECRETS_WORDS}")
    found = {}
    for name, item in value.items():
        text = item.get_secret_value() if isinstance(item, SecretStr) else item
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise Wrong(f"a {SECRETS_WORDS}; put words such as yes and no in quotes")
        if not str(name).isprintable() or any(character in str(text) for character in "\0\r\n"):
            raise Wrong(f"a {SECRETS_WORDS}, each on one line")
        found[str(name)] = SecretStr(str(text))
    return found


def read_arguments(value: Any) -> tuple[str, ...]:
    """Texts as they are, in their order, also where one is there twice or is empty."""
    if not isinstance(value, list | tuple) or any(isinstance(item, bool) for item in value):
        raise Wrong(f"a {ARGUMENTS_WORDS}; put words such as yes and no in quotes")
    if not all(isinstance(item, str | int | float) and "\0" not in str(item) for item in value):
        raise Wrong(f"a {ARGUMENTS_WORDS}")
    return tuple(map(str, value))


Secrets = Annotated[Mapping[str, SecretStr], Kind(SECRETS_WORDS, read_secrets)]
Arguments = Annotated[tuple[str, ...], Kind(ARGUMENTS_WORDS, read_arguments)]
