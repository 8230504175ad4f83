"""What nobody will read: keys and variables that the gateway does not know, each with the nearest that it does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import files
from .catalogue import BY_VARIABLE, FILE_VARIABLES, FOREIGN_PREFIXES, SETTINGS, Place
from .sources import ENVIRONMENT, Sources

OWN_VARIABLES = frozenset({"HERMES_DEMO_MODEL_KEY"})
"""Passed from the all-in-one to its demonstration model."""

PLACES = frozenset(place for setting in SETTINGS for place in setting.places)
BRANCHES = frozenset(place[:length] for place in PLACES for length in range(1, len(place)))
KEYS = tuple(key for setting in SETTINGS for key in setting.keys)


def warnings(sources: Sources) -> tuple[str, ...]:
    """One line for each key and variable that is not known."""
    found: list[str] = []
    for label, content in ((files.YAML, sources.yaml), (files.JSON, sources.json)):
        found += [
            f"{label}: the key {'.'.join(place)!r} holds other keys, and is left out of account as it is."
            if place in BRANCHES
            else f"{label}: the key {'.'.join(place)!r} is not known and is left out of account.{_nearest_key(place)}"
            for place in _unknown_places(content)
        ]
    known = [*BY_VARIABLE, *FILE_VARIABLES]
    for label, names in ((ENVIRONMENT, sources.environment), (files.DOTENV, sources.dotenv)):
        found += [
            f"{label}: the variable {name!r} is not known and is left out of account.{_nearest(name, known)}"
            for name in sorted(names)
            if name.startswith(FOREIGN_PREFIXES) and name not in known and name not in OWN_VARIABLES
        ]
    if "HERMES_HOME" in sources.dotenv:
        found.append(f"{files.DOTENV}: HERMES_HOME has no effect here, since it says where this file is.")
    return tuple(found)


def _unknown_places(content: Mapping[Any, Any], before: Place = ()) -> Iterator[Place]:
    for key, value in content.items():
        place = (*before, str(key))
        if place in PLACES:
            continue
        if place not in BRANCHES or (value is not None and not isinstance(value, Mapping)):
            yield place
        elif isinstance(value, Mapping):
            yield from _unknown_places(value, place)


def _nearest_key(place: Place) -> str:
    depth = len(place)
    siblings = sorted({known[depth - 1] for known in PLACES | BRANCHES if known[: depth - 1] == place[:-1] != known})
    if close := difflib.get_close_matches(place[-1], siblings, n=1):
        return f" The nearest known one is {'.'.join((*place[:-1], close[0]))!r}."
    return _nearest(".".join(place), KEYS, cutoff=0.8)


def _nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" The nearest known one is {close[0]!r}." if close else ""
