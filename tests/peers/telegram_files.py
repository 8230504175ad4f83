"""The Telegram peer's calls for files: what people sent can be fetched, and what the bot sends is kept."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from aiohttp import web

from tests.peers.forms import SentFile
from tests.peers.telegram_chats import Chat, Chats
from tests.peers.telegram_faults import Faults
from tests.peers.telegram_requests import FILE_PARAMETERS, BadCall, result, utf16

LARGEST_GIVEN = 20 * 1024 * 1024
"""Bytes of a file that the public Bot API lets bots fetch."""
CAPTION_LIMIT = 1024
PHOTO_BYTES = 10 * 1000 * 1000
FILE_BYTES = 50 * 1000 * 1000
PHOTO_HEADS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")


class FileCalls:
    """A part of `TelegramPeer`, which has the state."""

    token: str
    file_paths: dict[str, str]
    """What getFile answers for some file ids instead of the truth."""
    _lock: threading.RLock
    _chats: Chats
    _faults: Faults
    _counts: Counter[str]

    def push(self, body: dict[str, Any] | bytes) -> int:
        raise NotImplementedError

    def _chat(self, parameters: dict[str, Any]) -> Chat:
        raise NotImplementedError

    def _hang_up(self, request: web.BaseRequest) -> web.StreamResponse:
        raise NotImplementedError

    def push_file(self, field: str, body: bytes, **fields: Any) -> int:
        """A person sends a file; see `Chats.file_update`. Returns the update's number."""
        with self._lock:
            return self.push(self._chats.file_update(field, body, **fields))

    async def _send_file(self, method: str, parameters: dict[str, Any]) -> bytes:
        with self._lock:
            chat = self._chat(parameters)
            file = check_file(method, parameters)
            message = self._chats.record(chat=chat, parameters=parameters, shown="")
            message |= {"method": method, "file_name": file.name, "bytes": file.body, "answered": True}
            parameters[FILE_PARAMETERS[method]] = f"{len(file.body)} bytes"
        return result({"message_id": message["message_id"], "chat": {"id": chat.chat_id, "type": chat.kind}})

    async def _sendPhoto(self, parameters: dict[str, Any]) -> bytes:
        return await self._send_file("sendPhoto", parameters)

    async def _sendDocument(self, parameters: dict[str, Any]) -> bytes:
        return await self._send_file("sendDocument", parameters)

    async def _sendVoice(self, parameters: dict[str, Any]) -> bytes:
        return await self._send_file("sendVoice", parameters)

    async def _sendAudio(self, parameters: dict[str, Any]) -> bytes:
        return await self._send_file("sendAudio", parameters)

    async def _getFile(self, parameters: dict[str, Any]) -> bytes:
        file_id = parameters.get("file_id", "")
        with self._lock:
            body = self._chats.files.get(file_id)
        if body is None:
            raise BadCall("Bad Request: wrong file_id or the file is temporarily unavailable")
        if len(body) > LARGEST_GIVEN:
            raise BadCall("Bad Request: file is too big")
        path = self.file_paths.get(file_id, f"files/{file_id}")
        return result({"file_id": file_id, "file_unique_id": "u", "file_size": len(body), "file_path": path})

    async def _download(self, request: web.BaseRequest, bot: str = "", *path: str) -> web.StreamResponse:
        with self._lock:
            self._counts["downloads"] += 1
            body = self._chats.files.get(path[-1] if path else "")
            fault = self._faults.find(method="download", chat_id=None)
        if bot != f"bot{self.token}" or body is None:
            return web.Response(status=404)
        match fault and fault.kind:
            case "error":
                return web.Response(status=fault.status)
            case "refuse":
                return self._hang_up(request)
            case "truncated":
                response = web.StreamResponse(headers={"Content-Length": str(len(body))})
                await response.prepare(request)
                await response.write(body[: len(body) // 2])
                return self._hang_up(request)
        return web.Response(body=body, content_type="application/octet-stream")


def check_file(method: str, parameters: dict[str, Any]) -> SentFile:
    """The file of a call. Raises `BadCall` for what the real API does not take."""
    file = parameters.get(FILE_PARAMETERS[method])
    if not isinstance(file, SentFile):
        raise BadCall(f"Bad Request: there is no {FILE_PARAMETERS[method]} in the request")
    if not file.body:
        raise BadCall("Bad Request: file must be non-empty")
    if len(file.body) > (PHOTO_BYTES if method == "sendPhoto" else FILE_BYTES):
        raise BadCall("Request Entity Too Large", code=413)
    if method == "sendPhoto" and not file.body.startswith(PHOTO_HEADS):
        raise BadCall("Bad Request: IMAGE_PROCESS_FAILED")
    if method == "sendVoice" and not file.body.startswith(b"OggS"):
        raise BadCall("Bad Request: wrong file type")
    if len(utf16(parameters.get("caption", ""))) // 2 > CAPTION_LIMIT:
        raise BadCall("Bad Request: message caption is too long")
    return file
