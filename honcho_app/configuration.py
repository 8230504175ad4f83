"""How this installation uses Honcho: `honcho.json`, and what the gateway's own configuration says beside it.

A value comes from the file's block of this host, else from its top level, else from the environment, config.yaml or
gateway.json, else it is the default. Gateway-wide limits are settings (`gateway_app/config/schema/honcho.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from gateway_app.config import files
from gateway_app.config import live as gateway
from gateway_app.config.errors import Wrong, said
from gateway_app.config.kinds import Flag, HttpUrl, Kind, Text, Whole, Word, read_word
from gateway_app.config.schema import Config

from .names import LONGEST, checked_id

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""Between two looks at the file: two calls of stat."""
ENVIRONMENTS = {"production": "https://api.honcho.dev", "local": "http://localhost:8000"}
"""Addresses that the file may name by a word. None of them is a default."""
ID_WORDS = f"1 to {LONGEST} letters, digits, - and _"
FREQUENCY_WORDS = "async, turn, session, or a number of turns"
MAP_WORDS = "a mapping of texts to texts"


def _read_id(value: Any) -> str:
    try:
        return checked_id(value)
    except ValueError:
        raise Wrong(ID_WORDS) from None


def _read_optional_id(value: Any) -> str:
    return "" if value in (None, "") else _read_id(value)


def _read_ids(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise Wrong(MAP_WORDS)
    return {name: _read_id(item) for name, item in value.items()}


def _read_frequency(value: Any) -> str | int:
    word = str(value).strip().lower()
    if word in ("async", "turn", "session"):
        return word
    if isinstance(value, bool) or not word.isdecimal() or not 1 <= int(word) <= 10_000:
        raise Wrong(FREQUENCY_WORDS)
    return int(word)


def _read_recall_mode(value: Any) -> str:
    word = read_word(value)
    return "hybrid" if word == "auto" else word


Id = Annotated[str, Kind("id", _read_id)]
OptionalId = Annotated[str, Kind("id", _read_optional_id)]
Ids = Annotated[Mapping[str, str], Kind("mapping of texts to ids", _read_ids)]
Frequency = Annotated[str | int, Kind("`async`, `turn`, `session`, or a number of turns", _read_frequency)]


class Part(BaseModel):
    """A part of honcho.json, whose keys are written in camel case. Other tools have keys of their own in it."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        defer_build=True,
    )


class Observed(Part):
    """What Honcho works out of a peer's messages, and of others' for it."""

    observe_me: Flag
    observe_others: Flag


class Observation(Part):
    """Who is observed. What is worked out costs the server's model, and is kept in a slot that is read here."""

    user: Observed = Observed(observe_me=True, observe_others=False)
    """The person's own messages, into what is known of them."""
    ai: Observed = Observed(observe_me=False, observe_others=False)
    """The agent is not observed: it speaks with many, and what one of them said would be known to all."""


class HonchoConfig(Part):
    """The configuration in force. Nothing in it ever changes: a new one takes its place."""

    base_url: HttpUrl = ""
    """The Honcho server, without `/v3`."""
    environment: Annotated[Literal["", "production", "local"], Word] = ""
    """Stands for a server's address where `baseUrl` is not given."""
    api_key: SecretStr = SecretStr("")
    """The server's key for the whole workspace."""
    enabled: Flag | None = None
    """Whether memory is on; left out, it is where a server is named."""
    workspace: Id = "hermes"
    """The workspace that holds all memory."""
    workspaces: Ids = Field(default_factory=dict)
    """Tenants with a workspace of their own: `telegram` or `telegram:<account>` to its name."""
    peer_name: OptionalId = ""
    """The peer of the one person who uses this installation, where `pinUserPeer` is on."""
    ai_peer: Id = "hermes"
    """The agent's peer."""
    pin_user_peer: Flag = False
    """Everybody is `peerName`: only for an installation that one person uses, since all share one memory."""
    user_peer_aliases: Ids = Field(default_factory=dict)
    """Names for people: `<platform>:<user id>`, or a user id on whichever platform, to the peer."""
    runtime_peer_prefix: Text = ""
    """Stands before the names of all other people's peers."""
    observation: Observation = Observation()
    """What Honcho works out, and of whom. It counts when a session's peers are made."""
    recall_mode: Annotated[Literal["hybrid", "context", "tools"], Kind("one of", _read_recall_mode)] = "hybrid"
    """`context`: memory is put beside messages; `tools`: the agent asks for it; `hybrid`: both."""
    write_frequency: Frequency = "async"
    """When messages are written: `async` and `turn` after each turn, `session` at the session's end, a number so many
    turns at once."""
    save_messages: Flag = True
    """Whether messages are written to Honcho at all."""
    message_max_chars: Whole = Field(25_000, ge=1, le=25_000)
    """Characters of one message; longer ones are written in parts."""
    injection_frequency: Annotated[Literal["every-turn", "first-turn"], Word] = "every-turn"
    """Whether memory is put beside each message or only beside a session's first."""
    context_tokens: Whole = Field(800, ge=50, le=20_000)
    """What memory beside a message may cost, in tokens."""
    context_cadence: Whole = Field(1, ge=1, le=1000)
    """Turns after which it is asked for anew."""
    dialectic_reasoning_level: Annotated[Literal["minimal", "low", "medium", "high", "max"], Word] = "low"
    """How long Honcho's own model thinks where the agent asks for its reasoning and does not say."""
    dialectic_max_chars: Whole = Field(2_000, ge=100, le=50_000)
    """Characters of its answer that are shown to the agent."""

    @property
    def address(self) -> str:
        """The server's address; empty where none is named."""
        return self.base_url or ENVIRONMENTS.get(self.environment, "")

    @property
    def is_active(self) -> bool:
        """Whether there is memory."""
        return bool(self.address) and self.enabled is not False


class Found(NamedTuple):
    """What was read, of which file, as it was then."""

    config: HonchoConfig
    gateway: Config
    stamps: tuple[files.Stamp | None, ...]
    warnings: tuple[str, ...]


def paths() -> tuple[Path, ...]:
    """Where honcho.json is looked for; the first that exists counts."""
    return settings.HERMES_HOME / "honcho.json", Path(gateway.config().honcho.shared_file).expanduser()


def load() -> HonchoConfig:
    """The configuration as it is now. Raises ImproperlyConfigured with a line for each wrong value, and BadFile."""
    return _read(gateway.config()).config


def start() -> None:
    """Reads the configuration of a process that starts, and says what is odd about it. Raises as `load()` does."""
    _live.start()


def live() -> HonchoConfig:
    """The configuration in force in this process; read again where a file changed. Never raises for a wrong one."""
    return _live.config()


class _Live:
    """The configuration in force, looked at once a second when somebody asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_check = 0.0
        self._found: Found | None = None

    def start(self) -> None:
        self._found = _read(gateway.config())
        for line in self._found.warnings:
            log.warning("%s", line)

    def config(self) -> HonchoConfig:
        if self._found is None:
            with self._lock:  # managers are made anew for another configuration: all are to get the same one
                if self._found is None:
                    self.start()
        found, current = self._found, gateway.config()
        assert found is not None
        due = time.monotonic() >= self._next_check or found.gateway is not current
        if due and self._lock.acquire(blocking=False):
            try:
                self._next_check = time.monotonic() + CHECK_SECONDS
                if found.gateway is not current or found.stamps != _stamps():
                    self._found = found = self._read_again(found, current)
            finally:
                self._lock.release()
        return found.config

    def _read_again(self, before: Found, current: Config) -> Found:
        """What is found now; what was in force, where that cannot be used. The same object where nothing changed."""
        stamps = _stamps()
        try:
            found = _read(current)
        except ImproperlyConfigured as error:
            problem = str(error).replace("\n", " ")
            log.error("honcho.json has changed and cannot be used; what was in force stays. %s", problem)
            return before._replace(gateway=current, stamps=stamps)
        if found.config == before.config:
            return found._replace(config=before.config)
        log.info("Honcho's configuration changed.")
        return found


_live = _Live()


def _stamps() -> tuple[files.Stamp | None, ...]:
    return tuple(files.stamp(path) for path in paths())


def _read(current: Config) -> Found:
    stamps = _stamps()
    path = next((path for path, stamp in zip(paths(), stamps, strict=True) if stamp), paths()[0])
    content = files.read_json(path)
    host = current.honcho.host
    hosts = content.get("hosts")
    block = hosts.get(host) if isinstance(hosts, Mapping) else None
    if not isinstance(block, Mapping | None):
        raise ImproperlyConfigured(said(f"hosts.{host}", f"a {type(block).__name__}", "a mapping", origin=str(path)))
    given = {
        name: value
        for name, value in {**_beside(current), **_known(content), **_known(block or {})}.items()
        if value is not None
    }
    try:
        config = HonchoConfig.model_validate(given)
    except ValidationError as error:
        raise ImproperlyConfigured("\n".join(_wrong(error, path))) from None
    if config.enabled and not config.address:
        words = f"a URL, {ENVIRONMENTS['production']} for Honcho's own servers, where enabled is true"
        raise ImproperlyConfigured(said("baseUrl", "''", words, origin=str(path)))
    return Found(config, current, stamps, tuple(_warnings(config, path, content, block or {})))


ALIASES = {"pinPeerName": "pinUserPeer", "base_url": "baseUrl", "api_key": "apiKey"}
"""Other names that Honcho's tools have given to keys."""


def _known(content: Mapping[str, Any]) -> dict[str, Any]:
    """What `content` says that is meant for us, each under its own name."""
    renamed = {ALIASES[name]: value for name, value in content.items() if name in ALIASES}
    return {name: value for name, value in {**renamed, **content}.items() if name in KEYS}


def _beside(current: Config) -> dict[str, Any]:
    """What the gateway's own configuration says."""
    own = current.honcho
    return {"baseUrl": own.base_url, "apiKey": own.api_key, "workspace": own.workspace}


def _wrong(error: ValidationError, path: Path) -> list[str]:
    """Each wrong value in a line; no key is ever among them."""
    lines = []
    for detail in error.errors(include_url=False):
        place = ".".join(str(part) for part in detail["loc"])
        cause = detail.get("ctx", {}).get("error")
        allowed = cause.allowed if isinstance(cause, Wrong) else detail["msg"]
        found = "'(not shown)'" if place in ("apiKey", "baseUrl") else repr(detail["input"])[:80]
        lines.append(said(place, found, allowed, origin=str(path)))
    return lines


def _warnings(config: HonchoConfig, path: Path, content: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    lines = []
    if config.api_key.get_secret_value() and not config.address:
        lines.append(
            "There is a key for Honcho and no server, so memory is off. Set HONCHO_BASE_URL to the server's address,"
            f" {ENVIRONMENTS['production']} for Honcho's own."
        )
    if config.pin_user_peer and not config.peer_name:
        lines.append(f"pinUserPeer has no effect without peerName. Found in: {path}.")
    if path == paths()[0]:  # the other one is shared by tools that have keys of their own
        unknown = sorted({*content, *block} - KEYS - ALIASES.keys() - {"hosts"})
        if unknown:
            lines.append(f"Keys without effect here: {', '.join(unknown)}. Found in: {path}.")
    return lines


KEYS = frozenset(to_camel(name) for name in HonchoConfig.model_fields)
