"""The commands as menus show them: by the same registry, and only those that the person may run."""

from __future__ import annotations

from gateway_app.config import live
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.sessions.source import SessionSource

from . import registry
from .base import Command, Group


def shown_to(source: SessionSource) -> list[Command]:
    """What whoever writes as `source` may run there, in the order of the groups and by name."""
    access = live.config().access.platforms.get(source.platform) or PlatformAccess()
    groups = list(Group)
    return sorted(
        registry.in_force().permitted(source, access), key=lambda command: (groups.index(command.group), command.name)
    )


def described(command: Command, *, longest: int = 200) -> str:
    """What it does, as a menu says it."""
    text = command.summary.strip().removesuffix(".")
    text = text[:1].upper() + text[1:]
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
