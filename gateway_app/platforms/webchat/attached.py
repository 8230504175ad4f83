"""Files beside the text of a message, as the page gets them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway_app.media.attachment import Attachment, described
from gateway_app.media.cache import shown_size


def written(text: str, files: Sequence[Attachment]) -> str:
    """A message's text with its files described, as the inbox has it."""
    return f"{described(files)} {text}".strip() if files else text


def shown(text: str, given: list[dict[str, Any]] | None) -> tuple[str, list[dict[str, Any]]]:
    """The text without that description, and the files as a page gets them."""
    files = [Attachment.from_json(each) for each in given or ()]
    return (
        text.removeprefix(described(files)).strip() if files else text,
        [item(each.reference, name=each.name, kind=each.kind, size=each.size) for each in files if each.reference],
    )


def item(reference: str, *, name: str, kind: str, size: int) -> dict[str, Any]:
    """A file as a page gets it; its address is made there."""
    return {"id": reference, "name": name, "kind": str(kind), "size": shown_size(size)}


def sent(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The file that a part of the outbox is, if it is one."""
    if not row["media__reference"]:
        return []
    name, kind, size = row["media__name"], row["media__kind"], row["media__size"]
    return [item(row["media__reference"], name=name, kind=kind, size=size)]
