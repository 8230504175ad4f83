"""Makes a session on the server, with its people, before anything is written into it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .configuration import HonchoConfig
from .names import ai_peer_name, checked_id

if TYPE_CHECKING:
    from honcho import Honcho

KEPT = 10_000
"""Sessions that a process remembers to have opened; another one costs a call that changes nothing."""


def open_session(honcho: Honcho, name: str, *, users: Sequence[str], config: HonchoConfig) -> None:
    """Makes the session `name` with the peers of `users` and of the agent, where this process has not done so yet.

    What Honcho observes is said here, before the first message: a peer that joins by a message keeps what it had then,
    and nothing said later changes that. In a thread, as all calls of the SDK.
    """
    from honcho.session import SessionPeerConfig

    peers = sorted({checked_id(user) for user in users})
    known = (honcho.base_url, honcho.workspace_id, checked_id(name))
    if _opened.has(known, peers, config):
        return
    seen = config.observation
    told: list[Any] = [(peer, SessionPeerConfig(**seen.user.model_dump())) for peer in peers]
    told.append((checked_id(ai_peer_name(config)), SessionPeerConfig(**seen.ai.model_dump())))
    honcho.session(name, peers=told)
    _opened.add(known, peers, config)


def forget_opened() -> None:
    """Has every session opened anew, as in a process that starts."""
    _opened.clear()


class _Opened:
    """The sessions that this process has opened, with whom; the newest `KEPT`."""

    def __init__(self) -> None:
        self.clear()
        os.register_at_fork(after_in_child=self.clear)

    def clear(self) -> None:
        self._lock = threading.Lock()
        self._people: OrderedDict[tuple[str, str, str], set[str]] = OrderedDict()
        self._config: HonchoConfig | None = None

    def has(self, session: tuple[str, str, str], peers: Sequence[str], config: HonchoConfig) -> bool:
        with self._lock:
            return self._config is config and self._people.get(session, set()).issuperset(peers)

    def add(self, session: tuple[str, str, str], peers: Sequence[str], config: HonchoConfig) -> None:
        with self._lock:
            if self._config is not config:
                self._people.clear()
                self._config = config
            self._people.setdefault(session, set()).update(peers)
            self._people.move_to_end(session)
            while len(self._people) > KEPT:
                self._people.popitem(last=False)


_opened = _Opened()
