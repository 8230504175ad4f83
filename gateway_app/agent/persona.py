"""Who the agent is: SOUL.md in HERMES_HOME, or else the system prompt of the configuration."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from django.conf import settings

from gateway_app.config.errors import BadFile
from gateway_app.config.files import read_text

log = logging.getLogger(__name__)

NAME = "SOUL.md"
LONGEST = 20_000
"""Characters of the file that are used: it is paid for with every message."""
SETTLE_SECONDS = 0.5
"""A file younger than this may still be being written."""

Stamp = tuple[int, int, int]
"""What changes with the file: its time of change (ns), which its mode has a part in, its size, its inode."""


class Persona:
    """The file, as one process knows it. A look costs one call of stat, so that a change is one for all workers."""

    def __init__(self) -> None:
        self._known: tuple[Path, Stamp | None, str] | None = None

    def read(self, path: Path) -> str:
        """The file's text; empty where there is none, and where it cannot be used, which the log says once."""
        known, found = self._known, _stamp(path)
        if known and known[:2] == (path, found):
            return known[2]
        if known and known[0] == path and found and 0 <= time.time() - found[0] / 1e9 < SETTLE_SECONDS:
            return known[2]
        text = _text(path)
        self._known = (path, found, text)
        return text


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ctime_ns, found.st_size, found.st_ino


def _text(path: Path) -> str:
    try:
        text = (read_text(path) or "").replace("\0", "").strip()
    except BadFile as problem:
        log.error("The agent has no persona of its own: %s", problem)
        return ""
    if len(text) > LONGEST:
        log.warning("%s has %d characters; the first %d are used.", path, len(text), LONGEST)
    return text[:LONGEST]


_persona = Persona()


def identity(home: Path) -> str:
    """What the model is told first, for the HERMES_HOME `home`. Never raises."""
    return _persona.read(home / NAME) or settings.SYSTEM_PROMPT
