"""Images for models that see: who does, and how an image is given to them."""

from __future__ import annotations

import base64
import fnmatch
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway_app.models import MediaFile

from . import cache
from .attachment import Kind, MediaProblem
from .sniffing import RASTER

TOKENS = 1_000
"""What an image costs of the room in the model's context, estimated: common servers count 85 to 1,600."""
MENTION = "[image media_"
MENTIONED = re.compile(r"\[image (media_[0-9a-f]{24}):")
UNSEEN = "[An image was shown here, which you cannot see.]"


@functools.lru_cache(maxsize=256)
def sees(model: str, patterns: tuple[str, ...]) -> bool:
    """Whether a model can look at images; `vendor/name` is looked for by its name as well."""
    names = {model.lower(), model.lower().rpartition("/")[2]}
    return any(fnmatch.fnmatchcase(name, pattern.lower()) for name in names for pattern in patterns)


def is_showable(found: MediaFile, *, most: int) -> bool:
    """Whether a model that sees can be given it."""
    return found.kind == Kind.IMAGE and found.content_type in RASTER and found.size <= most


def part(found: MediaFile) -> dict[str, Any]:
    """The image as a part of a message in chat-completions form. Blocks; raises `MediaProblem`."""
    data = base64.b64encode(cache.read(found, most=found.size)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{found.content_type};base64,{data}"}}


def mentioned(history: Sequence[Mapping[str, Any]], *, most: int) -> dict[str, int]:
    """The newest images that people's messages mention, by reference, each with the place of its message."""
    found: dict[str, int] = {}
    for place in range(len(history) - 1, -1, -1):
        content = history[place]["content"]
        if history[place]["role"] != "user" or not isinstance(content, str) or MENTION not in content:
            continue
        for reference in reversed(MENTIONED.findall(content)):
            if len(found) < most:
                found.setdefault(reference, place)
    return found


def of_sessions(references: Iterable[str], *, session_key: str, most: int) -> list[MediaFile]:
    """Those that are this key's and that can still be shown. People can write any reference into a message."""
    rows = MediaFile.objects.filter(reference__in=[*references], session_key=session_key)
    return [row for row in rows if cache.is_kept(row) and is_showable(row, most=most)]


def recalled(
    history: list[dict[str, Any]], places: Mapping[str, int], files: Sequence[MediaFile]
) -> list[dict[str, Any]]:
    """`history` with its newest images beside the words that mention them. Blocks."""
    shown = list(history)
    for file in sorted(files, key=lambda file: file.pk):
        place = places[file.reference]
        try:
            image = part(file)
        except MediaProblem:
            continue
        shown[place] = with_images(shown[place], [image])
    return shown


def with_images(message: dict[str, Any], images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`message` with `images` after its text."""
    if not images:
        return message
    content = message["content"]
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return message | {"content": [*parts, *images]}


def has_images(messages: Iterable[Mapping[str, Any]]) -> bool:
    return any(isinstance(message.get("content"), list) for message in messages)


def without_images(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same for a model that does not see."""
    return [
        message | {"content": "\n\n".join(each.get("text", UNSEEN) for each in message["content"])}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]
