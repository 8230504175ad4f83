"""The kinds of values that are mappings: read from YAML, from JSON, and from JSON text in a variable.

They are kept as tuples of pairs, which nobody can change, and which a new configuration replaces as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, NamedTuple

from .errors import Wrong
from .kinds import ENTRY_LENGTH, Kind

OVERRIDES_WORDS = "mapping of chat ids to `{model: …}`"
PRICES_WORDS = "mapping of models to `{input: …, cached: …, output: …}`"
PROMPTS_WORDS = "mapping of chat ids to texts"
LONGEST_PROMPT = 8_000
"""Characters of a chat's prompt, or a personality's: it is paid for with every message."""
PERSONALITY = re.compile(r"[A-Za-z0-9_-]{1,32}")
PERSONALITIES_WORDS = "mapping of names to texts"
HOME_WORDS = "chat id, or a mapping `{chat_id: …, name: …, thread_id: …}`"
HIGHEST_PRICE = 1_000_000
"""For a million tokens; a larger one is a mistake."""


class Price(NamedTuple):
    """What a model's tokens cost, for a million of them, in a currency of the operator's choice."""

    model: str
    input: Decimal
    cached: Decimal
    """Of input that the server had in its cache."""
    output: Decimal


def read_channel_overrides(value: Any) -> tuple[tuple[str, str], ...]:
    """Chat ids with the model that answers there."""
    found = []
    for chat, entry in _entries(value, OVERRIDES_WORDS):
        if not isinstance(entry, Mapping):
            entry = {"model": entry}
        if set(entry) != {"model"} or not isinstance(entry["model"], str) or not entry["model"].strip():
            raise Wrong(OVERRIDES_WORDS, found=f"{chat!r} with {str(entry)[:80]!r}")
        found.append((chat, entry["model"].strip()))
    return tuple(found)


def read_channel_prompts(value: Any) -> tuple[tuple[str, str], ...]:
    """Chat ids with what the model is told there."""
    found = []
    for chat, text in _entries(value, PROMPTS_WORDS):
        if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_PROMPT or "\0" in text:
            raise Wrong(
                f"{PROMPTS_WORDS} of at most {LONGEST_PROMPT:,} characters", found=f"{chat!r} with {str(text)[:80]!r}"
            )
        found.append((chat, text.strip()))
    return tuple(found)


def read_personalities(value: Any) -> tuple[tuple[str, str], ...]:
    """Names, in lower case, with what the model is told where one is chosen."""
    found = []
    for name, text in _entries(value, PERSONALITIES_WORDS):
        if not PERSONALITY.fullmatch(name) or name.lower() == "default":
            raise Wrong("names of at most 32 letters, digits, - and _, and not `default`", found=repr(name)[:80])
        if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_PROMPT or "\0" in text:
            raise Wrong(
                f"{PERSONALITIES_WORDS} of at most {LONGEST_PROMPT:,} characters",
                found=f"{name!r} with {str(text)[:80]!r}",
            )
        found.append((name.lower(), text.strip()))
    return tuple(dict(found).items())


class Home(NamedTuple):
    """A platform's home channel."""

    chat_id: str
    name: str = ""
    thread_id: str = ""


def read_home_channel(value: Any) -> Home | None:
    """The home channel; none for an empty text."""
    if value is None or value == "":
        return None
    if isinstance(value, tuple):  # one that has been read already
        return Home(*value)
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Wrong(HOME_WORDS) from None
    if not isinstance(value, Mapping):
        value = {"chat_id": value}
    texts = {name: str(entry).strip() for name, entry in value.items() if type(entry) in (str, int)}
    is_whole = set(texts) == set(value) <= {"chat_id", "name", "thread_id"} and bool(texts.get("chat_id"))
    if not is_whole or any(len(text) > ENTRY_LENGTH or not text.isprintable() for text in texts.values()):
        raise Wrong(HOME_WORDS, found=repr(dict(value))[:80])
    return Home(**texts)


def read_prices(value: Any) -> tuple[Price, ...]:
    """Models with their prices. Without a price of its own cached input costs what input does."""
    found = []
    for model, entry in _entries(value, PRICES_WORDS):
        if not isinstance(entry, Mapping) or not {"input", "output"} <= set(entry) <= {"input", "cached", "output"}:
            raise Wrong(PRICES_WORDS, found=f"{model!r} with {str(entry)[:80]!r}")
        prices = {name: _price(model, price) for name, price in entry.items()}
        found.append(Price(model, prices["input"], prices.get("cached", prices["input"]), prices["output"]))
    return tuple(found)


def _price(model: str, value: Any) -> Decimal:
    try:
        price = Decimal(str(value)) if not isinstance(value, bool) else Decimal(-1)
    except InvalidOperation:
        price = Decimal(-1)
    if not (price.is_finite() and 0 <= price <= HIGHEST_PRICE):
        raise Wrong(
            f"prices from 0 to {HIGHEST_PRICE:,} for a million tokens", found=f"{model!r} at {str(value)[:40]!r}"
        )
    return price


def _entries(value: Any, words: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Wrong(f"a {words}, as JSON") from None
    if isinstance(value, tuple):  # one that has been read already
        value = {entry[0]: _again(entry) for entry in value}
    if not isinstance(value, Mapping):
        raise Wrong(f"a {words}")
    for name, entry in value.items():
        text = str(name).strip()
        if not text or len(text) > ENTRY_LENGTH or isinstance(name, bool) or not text.isprintable():
            raise Wrong(f"a {words}", found=repr(name)[:80])
        yield text, entry


def _again(entry: tuple[Any, ...]) -> Any:
    return entry[1] if len(entry) == 2 else dict(zip(("input", "cached", "output"), entry[1:], strict=True))


ChannelOverrides = Annotated[tuple[tuple[str, str], ...], Kind(OVERRIDES_WORDS, read_channel_overrides)]
ChannelPrompts = Annotated[tuple[tuple[str, str], ...], Kind(PROMPTS_WORDS, read_channel_prompts)]
Personalities = Annotated[tuple[tuple[str, str], ...], Kind(PERSONALITIES_WORDS, read_personalities)]
HomeChannel = Annotated[Home | None, Kind(HOME_WORDS, read_home_channel)]
Prices = Annotated[tuple[Price, ...], Kind(PRICES_WORDS, read_prices)]
