"""Arguments of a tool call as a person may see them before it runs: exact, but for secrets, and of bounded length."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

HIDDEN = "•••"
LONGEST = 2_500
"""Characters of the arguments that are shown; what is beyond is counted. A message on Telegram holds 4,096."""
DEEPEST = 20

SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|code)?$|secret|token$|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credential"
    r"|cookie|^pin$|^otp$",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(
    r"(?i:\b(?:bearer|basic)\s+[\w.+/=~-]{8,})"
    r"|\b(?:sk|pk|rk)-[\w-]{12,}|\bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}|\bxox[abprs]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|\b\d{6,}:[\w-]{30,}"
    r"|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


def shown(arguments: Mapping[str, Any]) -> str:
    """JSON in which nothing can pass for anything else: no backtick, no invisible or reordering character."""
    text = json.dumps(_without_secrets(arguments, depth=0), ensure_ascii=False, indent=1)
    plain = "".join(_visible(character) for character in text)
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[:LONGEST]}\n… and {len(plain) - LONGEST:,} characters more"


def _without_secrets(value: Any, *, depth: int) -> Any:
    if depth > DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {
            _hidden(str(name)): HIDDEN if SECRET_NAME.search(str(name)) else _without_secrets(item, depth=depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item, depth=depth + 1) for item in value]
    return _hidden(value) if isinstance(value, str) else value


def _hidden(text: str) -> str:
    return SECRET_VALUE.sub(HIDDEN, text)


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
