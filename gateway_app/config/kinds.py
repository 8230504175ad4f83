"""The kinds of values that settings have, and how each is read from text, from YAML and from JSON."""

from __future__ import annotations

import ipaddress
import math
import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from . import addresses
from .errors import Wrong

TRUE_WORDS = frozenset({"true", "1", "yes", "on"})
FALSE_WORDS = frozenset({"false", "0", "no", "off"})
FLAG_WORDS = "true, 1, yes, on, false, 0, no or off"
ENTRY_LENGTH = 255
"""Characters of one entry of a list; no platform's id is longer."""
ENTRY_WORDS = f"entries of at most {ENTRY_LENGTH} characters on one line, separated by commas"
TEXT_WORDS = "a text"
CARET_LENGTH = 8
CARET_WORDS = f"at most {CARET_LENGTH} printable characters"
TAKEN_PATHS = frozenset({"chat", "healthz", "metrics", "readyz", "sign-in", "sign-out", "static"})
"""Where the site has other pages than the admin's; a test compares them."""
BUSY_MODES = ("collect", "queue", "steer", "interrupt")
CHAT_MODE_WORDS = "entries `chat=mode`, each mode collect, queue, steer or interrupt"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: `words` for the reference and errors, `read` makes the value or raises `Wrong`."""

    words: str
    read: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))


def read_text(value: Any) -> str:
    """`value` without blanks around it. A number is a text too; words for yes and no are not."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Wrong(TEXT_WORDS)
    text = str(value).strip()
    if "\0" in text:
        raise Wrong("a text without NUL")
    return text


def read_flag(value: Any) -> bool:
    """Also the words that YAML and environments have for yes and no."""
    if isinstance(value, bool):
        return value
    word = read_text(value).lower() if isinstance(value, str | int) else ""
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise Wrong(FLAG_WORDS)


def read_number(value: Any) -> float:
    """A number that is neither infinite nor none."""
    try:
        number = float(read_text(value))
    except (ValueError, OverflowError):
        raise Wrong("a number") from None
    if not math.isfinite(number):
        raise Wrong("a number")
    return number


def read_whole(value: Any) -> int:
    """A number without a fraction."""
    number = read_number(value)
    if number != int(number):
        raise Wrong("a whole number")
    return int(number)


def read_words(value: Any) -> tuple[str, ...]:
    """A list's entries in their order, each once; text is split at commas, blanks and empty entries are dropped."""
    if isinstance(value, str):
        value = value.split(",")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, list | tuple):
        raise Wrong("a list, or a text with commas")
    return tuple(dict.fromkeys(entry for entry in map(_read_entry, value) if entry))


def _read_entry(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Wrong(f"{ENTRY_WORDS}; put words such as yes and no in quotes", found=repr(value)[:80])
    entry = str(value).strip()
    if len(entry) > ENTRY_LENGTH or any(character in "\0\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029" for character in entry):
        shown = repr(entry) if len(entry) <= 60 else f"{entry[:60]!r} and {len(entry) - 60:,} characters more"
        raise Wrong(ENTRY_WORDS, found=f"a list with {shown}")
    return entry


def read_commands(value: Any) -> tuple[str, ...]:
    """Slash commands: lower case, without their slash."""
    words = (word.lower().lstrip("/").strip() for word in read_words(value))
    return tuple(dict.fromkeys(word for word in words if word))


def read_chat_modes(value: Any) -> tuple[str, ...]:
    """`chat=mode` for each chat; YAML has them as a mapping."""
    if isinstance(value, Mapping):
        value = [f"{chat}={mode}" for chat, mode in value.items()]
    found = read_words(value)
    for entry in found:
        chat, _, mode = entry.rpartition("=")
        if not chat.strip() or mode.strip().lower() not in BUSY_MODES:
            raise Wrong(CHAT_MODE_WORDS, found=repr(entry)[:80])
    return tuple(f"{chat.strip()}={mode.strip().lower()}" for chat, _, mode in (e.rpartition("=") for e in found))


def read_word(value: Any) -> str:
    """One of some words, in any case. YAML reads `off` and `on` as no and yes."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return read_text(value).lower()


def read_caret(value: Any) -> str:
    """A few characters, with the blanks around them."""
    if not isinstance(value, str) or len(value) > CARET_LENGTH or not value.isprintable():
        raise Wrong(CARET_WORDS)
    return value


def read_switch(value: Any) -> str:
    """`on`, `off`, or nothing, which leaves it to what is more general."""
    return "" if value is None or value == "" else ("on" if read_flag(value) else "off")


def read_admin_path(value: Any) -> str:
    """The path without slashes around it."""
    path = read_text(value).strip("/")
    if not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", path):
        raise Wrong("letters, digits, - and _ with / between them, for example admin")
    if path.partition("/")[0] in TAKEN_PATHS:
        raise Wrong(f"a path that does not begin with {', '.join(sorted(TAKEN_PATHS))}: other pages are there")
    return path


def read_networks(value: Any) -> tuple[str, ...]:
    """Networks such as `10.0.0.0/8`; an address alone is a network of one."""
    try:
        return tuple(str(ipaddress.ip_network(word, strict=False)) for word in read_words(value))
    except ValueError:
        raise Wrong("IP addresses or networks, for example 127.0.0.1 or 10.0.0.0/8") from None


def read_time_zone(value: Any) -> str:
    name = read_text(value)
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Wrong("an IANA time zone, for example Europe/Paris") from None
    return name


def read_folder(value: Any) -> Path:
    return Path(value)


Folder = Annotated[Path, Kind("folder", read_folder)]
Text = Annotated[str, Kind("text", read_text)]
Flag = Annotated[bool, Kind("true or false", read_flag)]
Number = Annotated[float, Kind("number", read_number)]
Whole = Annotated[int, Kind("whole number", read_whole)]
Words = Annotated[tuple[str, ...], Kind("comma-separated list", read_words)]
Commands = Annotated[tuple[str, ...], Kind("comma-separated list of commands", read_commands)]
ChatModes = Annotated[tuple[str, ...], Kind("comma-separated list of `chat=mode`", read_chat_modes)]
Word = Kind("one of", read_word)
"""Beside a `Literal`: `Annotated[Literal["a", "b"], Word]`."""
Caret = Annotated[str, Kind("a few characters", read_caret)]
Switch = Annotated[Literal["", "on", "off"], Kind("one of", read_switch)]
"""A flag that may be left open."""
Networks = Annotated[tuple[str, ...], Kind("comma-separated list of networks", read_networks)]
TimeZone = Annotated[str, Kind("time zone", read_time_zone)]
AdminPath = Annotated[str, Kind("path", read_admin_path)]
Bind = Annotated[tuple[str, int], Kind("host:port", addresses.read_bind)]
HttpUrl = Annotated[str, Kind("URL, `http://`, `https://`", addresses.url_reader("http", "https"))]
RedisUrl = Annotated[
    str,
    Kind(
        "URL, `redis://`, `rediss://`, `redis+socket://`, `unix://`",
        addresses.url_reader("redis", "rediss", "redis+socket", "unix"),
    ),
]
BrokerUrl = Annotated[
    str,
    Kind(
        "URL, `redis://`, `rediss://`, `redis+socket://`, `amqp://`, `amqps://`",
        addresses.url_reader("redis", "rediss", "redis+socket", "amqp", "amqps"),
    ),
]
DatabaseUrl = Annotated[str, Kind("URL, `postgres://`, `postgresql://`, `sqlite://`", addresses.read_database_url)]
TelegramToken = Annotated[str, Kind("text", addresses.read_telegram_token)]
