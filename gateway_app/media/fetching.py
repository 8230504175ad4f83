"""Fetches a file that came with a message into the cache, once: a turn that is taken over finds it there."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from gateway_app.config import live
from gateway_app.models import MediaFile
from gateway_app.platforms import registry
from gateway_app.sessions.source import SessionContext
from gateway_app.worker.database import in_database

from . import cache
from .attachment import Attachment, Kind, MediaProblem

log = logging.getLogger(__name__)


async def fetch(attachment: Attachment, *, context: SessionContext, http: aiohttp.ClientSession) -> MediaFile:
    """The attachment as a file of the sessions of `context`. Raises `MediaProblem`."""
    if attachment.reference:
        found = await in_database(cache.find, attachment.reference, session_key=context.session_key)
        if found is None or not cache.is_kept(found):
            raise MediaProblem("it is not kept any more")
        return found
    settings = live.config().media
    if attachment.size > settings.max_bytes:
        raise MediaProblem(cache.too_large(attachment.size, most=settings.max_bytes))
    if not attachment.file_id:
        raise MediaProblem("the platform does not say where it is")
    origin = f"{context.platform}/{context.account}/{attachment.file_id}"
    reference = cache.reference_for(origin, session_key=context.session_key)
    known = await in_database(cache.find, reference, session_key=context.session_key)
    if known and cache.is_kept(known):
        return known
    is_voice = attachment.kind is Kind.VOICE
    with cache.Spool(most=settings.max_bytes) as spool:
        try:
            async with asyncio.timeout(settings.fetch_seconds):
                await registry.get(context.platform).download(
                    attachment, account=context.account, write=spool.write, http=http
                )
        except TimeoutError:
            raise MediaProblem("it took too long to fetch") from None
        await in_database(cache.check_room, spool.size, platform=context.platform, user_id=context.user_id)
        return await kept(spool, origin=origin, context=context, name=attachment.name, is_voice=is_voice)


async def kept(
    spool: cache.Spool, *, origin: str, context: SessionContext, name: str, is_voice: bool = False
) -> MediaFile:
    """What was spooled, as a file of the sessions of `context`. Raises `MediaProblem`."""
    stored = await asyncio.to_thread(
        cache.store,
        spool,
        origin=origin,
        session_key=context.session_key,
        platform=context.platform,
        user_id=context.user_id,
        name=name,
        is_voice=is_voice,
    )
    return await in_database(cache.record, stored)
