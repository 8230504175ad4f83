"""Lines of a process's output, however long they are and however they fall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

PIECE_BYTES = 256 * 1024


class Line(NamedTuple):
    """One line without its end, or the beginning of one that is too long."""

    content: bytes
    is_cut: bool = False


async def lines(stream: asyncio.StreamReader, *, longest: int) -> AsyncIterator[Line]:
    """The lines of `stream` up to its end; of one with more than `longest` bytes the rest is read and dropped."""
    kept = bytearray()
    is_cut = False
    while piece := await stream.read(PIECE_BYTES):
        *ends, rest = piece.split(b"\n")
        for end in ends:
            room = longest - len(kept)
            yield Line(bytes(kept + end[:room]), is_cut or len(end) > room)
            kept.clear()
            is_cut = False
        room = longest - len(kept)
        kept += rest[:room]
        is_cut = is_cut or len(rest) > room
    if kept:
        yield Line(bytes(kept), is_cut)
