"""Secrets that an installation makes for itself and keeps in files of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


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
