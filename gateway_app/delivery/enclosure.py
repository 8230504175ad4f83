"""Opens the file that a part sends, for the time of one attempt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from django.db import DatabaseError

from gateway_app.media import cache
from gateway_app.media.attachment import Kind, MediaProblem
from gateway_app.models import MediaFile
from gateway_app.platforms.base import OutgoingFile, OutgoingPart, SendError
from gateway_app.worker.database import in_database

BYTES_PER_SECOND = 256 * 1024
"""The slowest upload that an attempt waits for."""


@contextlib.asynccontextmanager
async def with_file(part: OutgoingPart) -> AsyncIterator[OutgoingPart]:
    """`part` with its file; where that is gone, with a text that says so. Raises `SendError` without a database."""
    if part.media_id is None:
        yield part
        return
    async with contextlib.AsyncExitStack() as stack:
        try:
            found = await in_database(MediaFile.objects.get, pk=part.media_id)
            opening = cache.opened(found)
            stream = await asyncio.to_thread(opening.__enter__)
            stack.push(opening.__exit__)
        except MediaProblem as problem:
            part = replace(part, text=f"⚠️ {part.text} could not be sent: {problem}.", media_id=None)
        except DatabaseError as error:
            raise SendError(f"the file's row could not be read ({type(error).__name__})") from None
        else:
            file = OutgoingFile(
                name=found.name,
                kind=Kind(found.kind),
                content_type=found.content_type,
                size=found.size,
                stream=stream,
            )
            part = replace(part, file=file)
        yield part


def extra_seconds(part: OutgoingPart) -> float:
    """What an attempt may take beyond SEND_TIMEOUT_SECONDS, because of its file."""
    return part.file.size / BYTES_PER_SECOND if part.file else 0.0
