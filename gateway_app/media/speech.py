"""Voice messages as text and answers as sound, by any server that speaks OpenAI's `/audio/transcriptions` and
`/audio/speech`.
"""

from __future__ import annotations

import asyncio
import json
import logging

import aiohttp
from django.conf import settings
from yarl import URL

from gateway_app.agent.model_errors import safe_detail
from gateway_app.config.schema.media import SpeechToText, TextToSpeech
from gateway_app.inbox import clean
from gateway_app.models import MediaFile

from . import cache
from .attachment import MediaProblem

log = logging.getLogger(__name__)

LONGEST_TRANSCRIPT = 20_000
"""Characters; half an hour of speech has no more."""
MOST_HEARD_BYTES = 25 * 1024 * 1024
"""What OpenAI's servers take."""
MOST_ANSWER_BYTES = 1024 * 1024
MOST_SOUND_BYTES = 25 * 1024 * 1024
NOT_NOW = "the server that would do that does not answer as it should"


async def transcribe(found: MediaFile, *, config: SpeechToText, http: aiohttp.ClientSession) -> str:
    """What is said in a sound file; empty where nothing is. Raises `MediaProblem`."""
    if found.size > MOST_HEARD_BYTES:
        raise MediaProblem(f"it is too long to be written down: more than {cache.shown_size(MOST_HEARD_BYTES)}")
    sound = await asyncio.to_thread(cache.read, found, most=MOST_HEARD_BYTES)
    form = aiohttp.FormData()
    form.add_field("model", config.model)
    form.add_field("response_format", "json")
    ending = found.stored_as.rpartition(".")[2]
    form.add_field("file", sound, filename=f"sound.{ending}", content_type=found.content_type)
    body = await _post("transcriptions", form, config=config, most=MOST_ANSWER_BYTES, http=http)
    try:
        text = json.loads(body)["text"]
    except (ValueError, TypeError, KeyError):
        log.error("The transcription server answered no transcript.")
        raise MediaProblem(NOT_NOW) from None
    return clean(str(text)).strip()[:LONGEST_TRANSCRIPT]


async def speak(text: str, *, config: TextToSpeech, http: aiohttp.ClientSession) -> bytes:
    """`text` as Opus in Ogg, which platforms show as a voice message. Raises `MediaProblem`."""
    request = {"model": config.model, "voice": config.voice, "input": text, "response_format": "opus"}
    return await _post("speech", json.dumps(request).encode(), config=config, most=MOST_SOUND_BYTES, http=http)


async def _post(
    what: str,
    body: aiohttp.FormData | bytes,
    *,
    config: SpeechToText | TextToSpeech,
    most: int,
    http: aiohttp.ClientSession,
) -> bytes:
    base = config.base_url or settings.OPENAI_BASE_URL
    # The model server's key is for that server alone.
    key = config.api_key if config.base_url else config.api_key or settings.OPENAI_API_KEY
    if not base:
        raise MediaProblem("no server is set up for that")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if isinstance(body, bytes):
        headers["Content-Type"] = "application/json"
    url = URL(base)
    timeout = aiohttp.ClientTimeout(total=config.timeout_seconds, sock_connect=settings.MODEL_CONNECT_SECONDS)
    try:
        async with http.post(
            (url / "audio" / what).with_query(url.query),
            data=body,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            found = await _read(response, most=most)
            if response.status == 200 and found:
                return found
            words = safe_detail(found[:500].decode("utf-8", "replace"), api_key=key)
            log.error("/audio/%s answered %s: %s", what, response.status, words)
    except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
        log.error("/audio/%s failed: %s", what, safe_detail(f"{type(error).__name__}: {error}", api_key=key))
    raise MediaProblem(NOT_NOW)


async def _read(response: aiohttp.ClientResponse, *, most: int) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most:
            log.error("An answer of more than %s bytes was not read on.", most)
            raise MediaProblem(NOT_NOW)
    return bytes(body)
