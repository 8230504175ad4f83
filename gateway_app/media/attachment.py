"""A file that came with a message, as its platform tells of it. Nothing of that is believed but where the bytes are."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self

LONGEST_NAME = 120
"""Characters of a file's name that are kept."""


class Kind(StrEnum):
    IMAGE = "image"
    VOICE = "voice"
    """A recording of somebody who speaks to the agent."""
    AUDIO = "audio"
    VIDEO = "video"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One file. Either the platform has it, under `file_id`, or the cache has it already, as `reference`."""

    kind: Kind
    name: str = ""
    file_id: str = ""
    reference: str = ""
    size: int = 0
    """Bytes as claimed; 0 where nothing is said."""
    album: str = ""
    """Messages that show one album have the same."""

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        found = {name: value for name, value in data.items() if name in known}
        return cls(**found | {"kind": Kind(found["kind"])})


class MediaProblem(Exception):
    """A file cannot be had, kept or sent. The text says why, for the person and the model; it holds no secret."""


def clean_name(name: str, *, default: str = "file") -> str:
    """A file's name as it may be shown: one line, no folders, nothing that hides or turns characters round."""
    base = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(character for character in base if unicodedata.category(character)[0] != "C")
    shown = " ".join(shown.split()).strip(". ").replace("[", "(").replace("]", ")")
    if len(shown) > LONGEST_NAME:
        stem, dot, ending = shown.rpartition(".")
        kept = f"{dot}{ending}" if stem and len(ending) <= 10 else ""
        shown = shown[: LONGEST_NAME - len(kept)] + kept
    return shown or default


def described(attachments: Sequence[Attachment]) -> str:
    """What stands in a message's text for files that came with it: `[image: cat.png] [document: plan.pdf]`."""
    return " ".join(f"[{each.kind.value}: {each.name}]" for each in attachments)


def named(attachment: Attachment) -> Attachment:
    """`attachment` with a name that may be shown."""
    return replace(attachment, name=clean_name(attachment.name, default=attachment.kind.value))
