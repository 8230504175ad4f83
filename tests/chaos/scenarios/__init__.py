"""The scenarios, by what is broken. Importing this package registers all of them."""

from __future__ import annotations

from . import faults, listeners, memory, servers, sleepers, web, workers

__all__ = ["faults", "listeners", "memory", "servers", "sleepers", "web", "workers"]
