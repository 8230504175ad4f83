"""Files from and to Telegram."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from django.conf import settings
from yarl import URL

from gateway_app.media.attachment import Attachment, Kind, MediaProblem
from gateway_app.platforms.base import OutgoingFile

from . import api

LARGEST_SENT = 50 * 1000 * 1000
"""What the public Bot API takes from a bot."""
LARGEST_PHOTO = 10 * 1000 * 1000
ASK_SECONDS = 15.0
SILENT_SECONDS = 20.0
"""Of a download; the whole has HERMES_MEDIA_FETCH_SECONDS."""
TRIES = 3
PATH = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
"""What Telegram calls a file that can be fetched, such as `photos/file_7.jpg`."""
TOO_BIG = "Telegram gives bots files of 20 MB at most"
UNREACHABLE = "Telegram could not be reached"


class Method(NamedTuple):
    """How a file is sent: the call, and the parameter that holds it."""

    name: str
    parameter: str


DOCUMENT = Method("sendDocument", "document")
PHOTO = Method("sendPhoto", "photo")
SOUNDS = (Kind.VOICE, Kind.AUDIO)
METHODS = {
    (Kind.IMAGE, "image/jpeg"): PHOTO,
    (Kind.IMAGE, "image/png"): PHOTO,
    (Kind.IMAGE, "image/webp"): PHOTO,
    (Kind.VOICE, "audio/ogg"): Method("sendVoice", "voice"),
    **{(kind, sound): Method("sendAudio", "audio") for kind in SOUNDS for sound in ("audio/mpeg", "audio/mp4")},
}
"""What Telegram shows by itself; all else is a document."""


def method_for(file: OutgoingFile) -> Method:
    """How `file` is sent so that it is shown best."""
    found = METHODS.get((file.kind, file.content_type), DOCUMENT)
    return DOCUMENT if found is PHOTO and file.size > LARGEST_PHOTO else found


async def download(attachment: Attachment, *, write: Callable[[bytes], object], http: aiohttp.ClientSession) -> None:
    """Hands the file's bytes to `write`. Raises `MediaProblem`, with no address in it: the token is part of that."""
    try:
        found = await _where(attachment, http=http)
    except api.ApiError as error:
        words = TOO_BIG if "too big" in error.description.lower() else f"Telegram does not give it: {error}"
        raise MediaProblem(words) from None
    except (api.NotSent, api.NoAnswer, api.Garbled):
        raise MediaProblem(UNREACHABLE) from None
    path, size = found.get("file_path"), found.get("file_size")
    if not isinstance(path, str) or not PATH.fullmatch(path) or ".." in path.split("/"):
        raise MediaProblem("Telegram does not say where it is")
    await _read(path, size=size if isinstance(size, int) else None, write=write, http=http)


async def _where(attachment: Attachment, *, http: aiohttp.ClientSession) -> dict[str, Any]:
    """Asked again where no answer came: asking changes nothing."""
    for _ in range(TRIES - 1):
        try:
            return await _ask(attachment, http=http)
        except (api.NotSent, api.NoAnswer, api.Garbled):
            pass
    return await _ask(attachment, http=http)


async def _ask(attachment: Attachment, *, http: aiohttp.ClientSession) -> dict[str, Any]:
    found = await api.call(http, "getFile", {"file_id": attachment.file_id}, seconds=ASK_SECONDS)
    return found if isinstance(found, dict) else {}


async def _read(path: str, *, size: int | None, write: Callable[[bytes], object], http: aiohttp.ClientSession) -> None:
    url = URL(f"{settings.TELEGRAM_BASE_URL}/file/bot{settings.TELEGRAM_BOT_TOKEN}/{path}", encoded=True)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=ASK_SECONDS, sock_read=SILENT_SECONDS)
    count = 0
    try:
        # Not packed: a small answer must not become a large one here.
        headers = {"Accept-Encoding": "identity"}
        async with http.get(url, timeout=timeout, allow_redirects=False, headers=headers) as response:
            if response.status != 200:
                raise MediaProblem(f"Telegram answered {response.status}")
            async for piece in response.content.iter_any():
                count += len(piece)
                write(piece)
    except (aiohttp.ClientError, HttpProcessingError, OSError):
        raise MediaProblem("it broke off on its way from Telegram") from None
    if size is not None and count != size:
        raise MediaProblem("it broke off on its way from Telegram")
