"""The operators' pages of memory, made like those of the gateway."""

from __future__ import annotations

from . import write  # noqa: F401
