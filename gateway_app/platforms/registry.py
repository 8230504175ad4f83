"""Finds platforms by name: a folder in this package with an `adapter.py` that has a class `Adapter`."""

from __future__ import annotations

import functools
import importlib
import pkgutil

import gateway_app.platforms as package

from .base import Platform


@functools.cache
def names() -> tuple[str, ...]:
    """Every platform that is shipped, sorted."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(package.__path__) if found.ispkg))


@functools.cache
def get(name: str) -> Platform:
    """The platform `name`. Raises `LookupError` that names the ones there are."""
    if name not in names():
        raise LookupError(f"There is no platform {name!r}; there are: {', '.join(names())}.")
    adapter: type[Platform] = importlib.import_module(f"gateway_app.platforms.{name}.adapter").Adapter
    return adapter()
