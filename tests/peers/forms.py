"""Forms with files, as the peers read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, web


@dataclass(frozen=True)
class SentFile:
    name: str
    content_type: str
    body: bytes


async def read_form(request: web.BaseRequest) -> dict[str, Any]:
    """A form's fields; a file is a `SentFile`."""
    found: dict[str, Any] = {}
    if request.content_type != "multipart/form-data":
        return dict(await request.post())
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        body = bytes(await part.read())
        if part.filename is None:
            found[str(part.name)] = body.decode()
        else:
            found[str(part.name)] = SentFile(part.filename, part.headers.get("Content-Type", ""), body)
    return found
