"""Arguments of a tool call as a person may see them before it runs: exact, but for secrets, and of bounded length."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from gateway_app.config.schema import Config
from gateway_app.redaction import HIDDEN, redacted

LONGEST = 2_500
"""Characters of the arguments that are shown; what is beyond is counted. A message on Telegram holds 4,096."""
DEEPEST = 20

SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|code)?$|secret|token$|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credential"
    r"|cookie|^pin$|^otp$",
    re.IGNORECASE,
)


def shown(arguments: Mapping[str, Any], *, config: Config) -> str:
    """JSON in which nothing can pass for anything else: no backtick, no invisible or reordering character."""
    text = json.dumps(_without_secrets(arguments, config=config), ensure_ascii=False, indent=1)
    plain = "".join(_visible(character) for character in text)
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[:LONGEST]}\n… and {len(plain) - LONGEST:,} characters more"


def _without_secrets(value: Any, *, config: Config, depth: int = 0) -> Any:
    if depth > DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for name, item in value.items():
            is_secret = SECRET_NAME.search(str(name))
            key = redacted(str(name), config=config)
            # Two names that are hidden are still two arguments.
            key = key if key not in found else f"{key} ({len(found)})"
            found[key] = HIDDEN if is_secret else _without_secrets(item, config=config, depth=depth + 1)
        return found
    if isinstance(value, list):
        return [_without_secrets(item, config=config, depth=depth + 1) for item in value]
    return redacted(value, config=config) if isinstance(value, str) else value


def _visible(character: str) -> str:
    """A character as JSON writes it, escaped where a reader could not see it, or a backtick would end the block."""
    if character == "\n" or (
        character != "`" and unicodedata.category(character) not in {"Cc", "Cf", "Zl", "Zp", "Co"}
    ):
        return character
    return "".join(f"\\u{unit:04x}" for unit in _units(character))


def _units(character: str) -> list[int]:
    encoded = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(encoded[place : place + 2]) for place in range(0, len(encoded), 2)]
