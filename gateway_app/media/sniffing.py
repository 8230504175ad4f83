"""What a file is, by its first bytes. Names and claimed types are written by whoever sends it."""

from __future__ import annotations

import codecs
from typing import NamedTuple

import filetype

from .attachment import Kind

HEAD_BYTES = 8192
"""So much of a file's beginning is looked at."""
RASTER = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}
"""Images that models and browsers take; no script can be in them."""
AUDIO = {
    "audio/ogg": ".ogg", "audio/mpeg": ".mp3", "audio/mp4": ".m4a", "audio/wav": ".wav", "audio/flac": ".flac",
    "audio/webm": ".webm", "audio/aac": ".aac", "audio/amr": ".amr",
}  # fmt: skip
VIDEO = {"video/mp4": ".mp4", "video/webm": ".webm", "video/quicktime": ".mov"}
OTHER = {"application/pdf": ".pdf", "application/zip": ".zip", "text/plain": ".txt"}
SAME = {
    "audio/x-wav": "audio/wav", "audio/x-flac": "audio/flac", "audio/m4a": "audio/mp4", "audio/x-m4a": "audio/mp4",
    "video/x-m4v": "video/mp4",
}  # fmt: skip
"""Other names of the same type."""
UNKNOWN = "application/octet-stream"
TEXT = "text/plain"
"""Any text, HTML and SVG among them: nobody is ever shown it as anything else."""


class Type(NamedTuple):
    content_type: str
    kind: Kind
    ending: str
    """Of the name that it is stored under."""


def sniff(head: bytes, *, is_voice: bool = False) -> Type:
    """The type of a file that begins with `head`. `is_voice` is believed of a recording, and of nothing else."""
    found = filetype.guess_mime(head) or (TEXT if is_text(head) else UNKNOWN)
    content_type = SAME.get(found, found)
    if content_type in RASTER:
        return Type(content_type, Kind.IMAGE, RASTER[content_type])
    if is_voice and content_type == "video/webm":
        content_type = "audio/webm"  # browsers record sound in the same container
    if content_type in AUDIO:
        return Type(content_type, Kind.VOICE if is_voice else Kind.AUDIO, AUDIO[content_type])
    if content_type in VIDEO:
        return Type(content_type, Kind.VIDEO, VIDEO[content_type])
    return Type(content_type, Kind.DOCUMENT, OTHER.get(content_type, ".bin"))


def is_text(head: bytes) -> bool:
    """Whether it reads as UTF-8 without control characters. The last character may be cut."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return not any(ord(character) < 32 and character not in "\t\n\r\f" for character in text)
