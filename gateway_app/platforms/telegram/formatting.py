"""Markdown as Telegram shows it: code blocks, inline code and bold become entities, all else stays as written.

Entities are ranges beside the text, so nothing has to be escaped and nothing is ever lost: putting the markers
back around the ranges gives the very text that came in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from gateway_app.platforms.splitting import utf16_length

MOST_ENTITIES = 100
"""Telegram ignores the entities of a message beyond this many."""

MARKED = re.compile(
    r"^```(?P<language>[\w+#.-]{0,30})\n(?P<block>(?:(?!```).*\n)*?(?!```).*\S.*)\n```$"
    r"|(?<!`)`(?!`)(?P<code>[^`\n]*[^`\s][^`\n]*)`(?!`)"
    # Bold only between blanks or punctuation: `2**3**4` is arithmetic.
    r"|(?<![\w*`])\*\*(?P<bold>[^\s*`](?:[^*`\n]*[^\s*`])?)\*\*(?![\w*`])",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Formatted:
    """What is shown, and the entities in it, in the Bot API's form."""

    text: str
    entities: list[dict[str, Any]]


def formatted(source: str) -> Formatted:
    """`source` with its markers turned into entities; unchanged where it has none, or more than Telegram takes."""
    shown: list[str] = []
    entities: list[dict[str, Any]] = []
    offset = done = 0
    for found in MARKED.finditer(source):
        before = source[done : found.start()]
        entity = _entity(found)
        content = found[found.lastgroup or 0]
        offset += utf16_length(before)
        shown += (before, content)
        entities.append({**entity, "offset": offset, "length": utf16_length(content)})
        offset += entities[-1]["length"]
        done = found.end()
    if not entities or len(entities) > MOST_ENTITIES:
        return Formatted(source, [])
    return Formatted("".join(shown) + source[done:], entities)


def _entity(found: re.Match[str]) -> dict[str, Any]:
    if found["block"] is not None:
        return {"type": "pre", "language": found["language"]} if found["language"] else {"type": "pre"}
    return {"type": "code" if found["code"] is not None else "bold"}
