"""Lets go of files whose time is over. Their rows stay: what was said about them still names them."""

from __future__ import annotations

import asyncio

from gateway_app.worker.database import in_database

from . import cache

AT_ONCE = 500


async def expire_due() -> int:
    """Removes the bytes of what is over, as far as the storage lets go of it; returns how many files that were."""
    count = 0
    for found in await in_database(cache.due, limit=AT_ONCE):
        if await asyncio.to_thread(cache.remove, found):
            await in_database(cache.note_removed, found)
            count += 1
    return count
