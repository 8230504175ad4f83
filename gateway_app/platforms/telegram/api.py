"""Calls of the Bot API. The token is part of every address, so no error that leaves this module holds an address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import aiohttp
from aiohttp import MultipartWriter
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.payload import BytesPayload, Payload
from django.conf import settings
from yarl import URL

from gateway_app.inbox import clean

MOST_BYTES = 64 * 1024 * 1024
"""An answer larger than this is not read on: 100 updates of the largest kind take less than 2 MiB."""

PIECE_BYTES = 256 * 1024
"""Of a file that is sent, read at once."""

LONGEST_WAIT = 10_000_000
"""Seconds of a `retry_after` that is believed."""

LONGEST_DETAIL = 300
"""Characters of a server's words that an error repeats."""

encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class ApiError(Exception):
    """The Bot API refused a call. `code` is its error code, `retry_after` in seconds."""

    def __init__(self, code: int, description: str, *, retry_after: float | None = None, migrated_to: str = "") -> None:
        super().__init__(f"{code} {description}")
        self.code = code
        self.description = description
        self.retry_after = retry_after
        self.migrated_to = migrated_to
        """The chat's new id, where a group has become a supergroup."""


class NotSent(Exception):
    """No connection could be had: the server has certainly not seen the call."""


class NoAnswer(Exception):
    """The call was written, at least in part, and no whole answer came back: it may have been carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that goes with a call."""

    parameter: str
    name: str
    content_type: str
    size: int
    stream: BinaryIO


class Garbled(Exception):
    """An answer that is none of the Bot API. `status` is its HTTP status, `body` its bytes, whole or the beginning."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(scrubbed(f"HTTP {status}, not the Bot API: {body[:80].decode('utf-8', 'replace')!r}"))
        self.status = status
        self.body = body


class _Guarded:
    """A request's body that knows whether any of the request was given to the connection.

    It is not once `may_go()` says no: connecting takes time, and a process may sleep at any moment.
    """

    began = False
    refusal: NotSent | None = None
    may_go: Callable[[], bool]

    def begin(self) -> None:
        """Asked right before the first byte. Raises `NotSent`."""
        if not self.may_go():
            self.refusal = NotSent("the right to send ended before the request was written")
            raise self.refusal
        self.began = True


class _Body(_Guarded, BytesPayload):
    def __init__(self, value: bytes, *, may_go: Callable[[], bool]) -> None:
        super().__init__(value, content_type="application/json")
        self.may_go = may_go

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        self.begin()
        await super().write_with_length(writer, content_length)


class _File(Payload):
    """A file that stays open afterwards: a call that is refused is made again in another way."""

    _value: BinaryIO
    _autoclose = True

    def __init__(self, upload: Upload) -> None:
        super().__init__(upload.stream, content_type=upload.content_type)
        self._size = upload.size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("A file is no text.")

    async def write(self, writer: Any) -> None:
        await asyncio.to_thread(self._value.seek, 0)
        while piece := await asyncio.to_thread(self._value.read, PIECE_BYTES):
            await writer.write(piece)


class _Form(_Guarded, MultipartWriter):
    """A call's parameters beside a file, which is read while it is sent."""

    def __init__(self, payload: dict[str, Any], upload: Upload, *, may_go: Callable[[], bool]) -> None:
        super().__init__("form-data")
        self._is_form_data = True
        self.may_go = may_go
        for name, value in payload.items():
            text = value if isinstance(value, str) else encode_json(value)
            self.append(text.encode("utf-8", "replace"), {}).set_content_disposition("form-data", name=name)
        part = self.append_payload(_File(upload))
        part.set_content_disposition("form-data", name=upload.parameter, filename=upload.name)

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        self.begin()
        await self.write(writer)


async def call(
    http: aiohttp.ClientSession,
    method: str,
    payload: dict[str, Any],
    *,
    seconds: float,
    may_go: Callable[[], bool] = lambda: True,
    upload: Upload | None = None,
) -> Any:
    """The `result` of one call, which may take `seconds`. Raises `ApiError`, `NotSent`, `NoAnswer` or `Garbled`.

    `may_go` is asked at the last moment before the request is written; where it says no, that is `NotSent`.
    """
    body: _Body | _Form
    if upload:
        body = _Form(payload, upload, may_go=may_go)
    else:
        # "replace": half a surrogate pair in a text must not make the request one that no server reads.
        body = _Body(encode_json(payload).encode("utf-8", "replace"), may_go=may_go)
    url = URL(f"{settings.TELEGRAM_BASE_URL}/bot{settings.TELEGRAM_BOT_TOKEN}/{method}", encoded=True)
    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, settings.SEND_TIMEOUT_SECONDS / 2))
    try:
        async with http.post(url, data=body, timeout=timeout, allow_redirects=False) as response:
            return _result(response.status, await _read(response))
    except (aiohttp.ClientError, HttpProcessingError, OSError) as error:  # a TimeoutError is an OSError
        if body.refusal:
            raise body.refusal from None
        words = scrubbed(str(error)) or f"nothing within {seconds:g} s"
        kind = NoAnswer if body.began else NotSent
        raise kind(f"{type(error).__name__}: {words}") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            response.close()
            break
    return bytes(body)


def _result(status: int, body: bytes) -> Any:
    try:
        answer = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise Garbled(status, body) from None
    match answer:
        case {"ok": True, "result": result}:
            return result
        case {"ok": False, "error_code": int(code), "description": str(description)}:
            parameters = answer.get("parameters")
            parameters = parameters if isinstance(parameters, dict) else {}
            wait, chat = parameters.get("retry_after"), parameters.get("migrate_to_chat_id")
            raise ApiError(
                code,
                scrubbed(description),
                retry_after=float(wait) if isinstance(wait, int | float) and 0 <= wait <= LONGEST_WAIT else None,
                migrated_to=str(chat) if isinstance(chat, int) else "",
            )
    raise Garbled(status, body)


def scrubbed(words: str) -> str:
    """`words` as they may be logged and kept: one line, not too long, and without the token."""
    if settings.TELEGRAM_BOT_TOKEN:
        words = words.replace(settings.TELEGRAM_BOT_TOKEN, "<token>")
    return " ".join(clean(words).split())[:LONGEST_DETAIL]
