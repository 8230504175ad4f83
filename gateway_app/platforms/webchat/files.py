"""Files of a conversation: what its page uploads, and what it shows. Each request says whose conversation it is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, BinaryIO

from django.contrib.auth.models import User
from django.core import signing
from django.http import HttpResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

from gateway_app.config import live
from gateway_app.media import cache
from gateway_app.media.attachment import Attachment, Kind, MediaProblem
from gateway_app.media.sniffing import AUDIO, RASTER
from gateway_app.models import MediaFile, WebConversation
from gateway_app.sessions.key import session_key
from gateway_app.worker.database import in_database

from .conversations import Denied, decision_for, denial, source_of

MOST_FILES = 10
"""Of one message."""
PIECE_BYTES = 256 * 1024
SPARE_BYTES = 1024
TICKET = "gateway_app.webchat.upload"
TICKET_SECONDS = 7 * 86_400
"""A page that has been open for longer is asked to be loaded again."""
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
INLINE = {*RASTER, *AUDIO}
"""What a browser shows by itself, and in which no script can be."""
SANDBOX = "default-src 'none'; sandbox"


class NotFound(Exception):
    """No such file is in the conversation, or it is not kept any more."""


def ticket(user: User) -> str:
    """Goes with a page, so that large requests are read only of people who are signed in."""
    return signing.TimestampSigner(salt=TICKET).sign(str(user.pk))


def body_limit(ticket: str) -> int | None:
    """Bytes of an upload that is read where this is a ticket; None for what is none."""
    try:
        signing.TimestampSigner(salt=TICKET).unsign(ticket, max_age=TICKET_SECONDS)
    except signing.BadSignature:
        return None
    return int(live.config().media.max_bytes) + SPARE_BYTES


async def upload(user: User, conversation: WebConversation, *, upload_id: str, name: str, stream: Any) -> MediaFile:
    """Keeps what is uploaded. The same `upload_id` again is the same file. Raises `Denied` and `MediaProblem`."""
    decision = await in_database(decision_for, user)
    if not decision.is_allowed:
        raise Denied(denial(user))
    with cache.Spool(most=live.config().media.max_bytes) as spool:
        await asyncio.to_thread(_read, stream, spool)
        who = user.get_username()
        await in_database(cache.check_room, spool.size, platform="webchat", user_id=who)
        stored = await asyncio.to_thread(
            cache.store,
            spool,
            origin=f"upload/{user.pk}/{upload_id}",
            session_key=session_key(source_of(user, conversation)),
            platform="webchat",
            user_id=who,
            name=name,
        )
    return await in_database(cache.record, stored)


def _read(stream: Any, spool: cache.Spool) -> None:
    while piece := stream.read(PIECE_BYTES):
        spool.write(piece)


def attachments(user: User, conversation: WebConversation, references: list[str]) -> tuple[Attachment, ...]:
    """What a message comes with. Raises `MediaProblem` for a file that is not this person's, here, and kept."""
    key = session_key(source_of(user, conversation))
    rows = MediaFile.objects.filter(reference__in=references, session_key=key, user_id=user.get_username())
    found = {row.reference: row for row in rows if cache.is_kept(row)}
    if any(reference not in found for reference in references):
        raise MediaProblem("One of the files is not kept any more. Please attach it again.")
    return tuple(
        Attachment(kind=Kind(row.kind), name=row.name, reference=row.reference, size=row.size)
        for row in (found[reference] for reference in references)
    )


def find(user: User, conversation: WebConversation, reference: str) -> MediaFile:
    """A file of the conversation, or of work in the background of it. Raises `NotFound` also for another's."""
    key = session_key(source_of(user, conversation))
    found = MediaFile.objects.filter(reference=reference).first()
    if found is None or not f"{found.session_key}:".startswith(f"{key}:") or not cache.is_kept(found):
        raise NotFound
    return found


async def response(found: MediaFile, *, wanted: str) -> HttpResponseBase:
    """The file, or the range of it that is `wanted`. Raises `NotFound`.

    Whatever it is, it is no page: only images of pixels and sounds are shown, and all else is saved.
    """
    first, last, status = _range(wanted, size=found.size)
    is_inline = found.content_type in INLINE
    headers = {
        "Content-Type": found.content_type if is_inline else "application/octet-stream",
        "Content-Disposition": content_disposition_header(not is_inline, found.name) or "attachment",
        "Content-Security-Policy": SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=600",
        "Accept-Ranges": "bytes",
    }
    if first > last:
        return HttpResponse(status=416, headers={**headers, "Content-Range": f"bytes */{found.size}"})
    opening = cache.opened(found)
    try:
        stream = await asyncio.to_thread(opening.__enter__)
    except MediaProblem:
        raise NotFound from None
    headers["Content-Length"] = str(last - first + 1)
    if status == 206:
        headers["Content-Range"] = f"bytes {first}-{last}/{found.size}"
    pieces = _pieces(stream, first=first, count=last - first + 1, close=lambda: opening.__exit__(None, None, None))
    return StreamingHttpResponse(pieces, status=status, headers=headers)


def _range(wanted: str, *, size: int) -> tuple[int, int, int]:
    """First and last byte, and the status. What is not understood is answered with the whole, as HTTP has it."""
    match = RANGE.fullmatch(wanted)
    if not match or not any(match.groups()):
        return 0, size - 1, 200
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0), size - 1, 206
    return int(first), min(int(last), size - 1) if last else size - 1, 206


async def _pieces(stream: BinaryIO, *, first: int, count: int, close: Any) -> AsyncIterator[bytes]:
    try:
        await asyncio.to_thread(stream.seek, first)
        while count and (piece := await asyncio.to_thread(stream.read, min(PIECE_BYTES, count))):
            count -= len(piece)
            yield piece
    finally:
        close()
