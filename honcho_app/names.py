"""Names of sessions and peers on a Honcho server: readable, and as far apart as the keys that they stand for.

Honcho takes letters, digits, `-` and `_`, so that other characters become `-`; a hash of the whole raw key keeps
apart what looks alike then.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from gateway_app.sessions.key import escape, session_key
from gateway_app.sessions.source import ChatType, SessionContext, SessionSource

if TYPE_CHECKING:
    from .configuration import HonchoConfig

LONGEST = 100
"""Characters of an id. Servers of today take 512; older ones lose every session with a longer one."""
HASH_DIGITS = 24
"""96 bits: nobody can choose ids until two of them share a name."""
ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
RESERVED = "scope."


def session_name(honcho_session_key: str, *, generation: int = 1) -> str:
    """The Honcho session that a Honcho session key stands for, in its first or a later `generation`."""
    # NUL is in no key, so that no key's later generation is another key's first.
    return _named(honcho_session_key if generation == 1 else f"{honcho_session_key}\0{generation}")


def peer_name(who: SessionContext | SessionSource, config: HonchoConfig) -> str:
    """The peer of the person who writes.

    The one that the configuration pins or gives them as an alias; else one of their own for each platform account,
    as ids mean something else on each. Who has no id is a peer of their conversation alone.
    """
    if config.pin_user_peer and config.peer_name:
        return config.peer_name
    if not who.user_id:
        key = who.honcho_session_key if isinstance(who, SessionContext) else session_key(who)
        return _named(f"somebody:{key}")
    for alias in (f"{who.platform}:{who.user_id}", who.user_id):
        if found := config.user_peer_aliases.get(alias):
            return found
    person = ":".join(escape(part) for part in (who.platform, who.account, who.user_id))
    return _named(f"{config.runtime_peer_prefix}{person}")


def ai_peer_name(config: HonchoConfig) -> str:
    """The peer of the agent."""
    return config.ai_peer


def workspace_name(who: SessionContext | SessionSource, config: HonchoConfig) -> str:
    """The workspace of the tenant to whom the conversation belongs."""
    for place in (f"{who.platform}:{who.account}", who.platform):
        if found := config.workspaces.get(place):
            return found
    return config.workspace


def is_private(who: SessionContext | SessionSource) -> bool:
    """Whether nobody else reads what is said here, so that all that is known of the person may be shown."""
    return who.chat_type == ChatType.DM


def checked_id(value: Any) -> str:
    """`value` where it is an id that may become part of a URL; ValueError for anything else.

    The SDK pastes ids into URLs as they are: `../sessions/x` would reach another session.
    """
    if not isinstance(value, str) or not ID.fullmatch(value):
        shown = repr(value) if isinstance(value, str) and len(value) <= LONGEST else f"a {type(value).__name__}"
        raise ValueError(f"The id is {shown}; allowed: 1 to {LONGEST} letters, digits, - and _.")
    return value


def _named(key: str) -> str:
    """A name for `key`: its readable beginning, and a hash of the whole."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", key).strip("-")[: LONGEST - HASH_DIGITS - 1]
    return checked_id(f"{readable}-{digest}" if readable else digest)
