"""The managers of this process: one for each session and person in it, made at the first call.

A manager holds no connection and decides by nothing but the context that it was made with, so that letting it go and
making it again changes nothing. It is let go when its session has ended, when it was not used for long, and when there
are too many.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from typing import Any, NamedTuple

from celery import signals

from gateway_app.config import live as gateway
from gateway_app.sessions.source import SessionContext

from . import configuration
from .manager import HonchoSessionManager


class Key(NamedTuple):
    """Whose manager it is: whatever of a context decides about its ids."""

    honcho_session_key: str
    session_id: str
    platform: str
    account: str
    chat_type: str
    user_id: str


def manager_for(context: SessionContext) -> HonchoSessionManager | None:
    """The manager of the context's session and person; None where Honcho is off.

    Those of the same key's other sessions are let go: they have ended, or been left for this one. Whoever is in the
    middle of something with such a one may end it.
    """
    config = configuration.live()
    if not config.is_active or not context.honcho_session_key:
        return None
    return _managers.get(context, config)


def shut_down(honcho_session_key: str, *, session_id: str = "") -> int:
    """Shuts down this process's managers of a key, or only those of one of its sessions; returns how many.

    Other processes let theirs go when they see the key's next session, or after being idle.
    """
    return _managers.shut_down(honcho_session_key, session_id)


def shut_down_all() -> int:
    """Shuts down all managers of this process, at its end; returns how many."""
    return _managers.shut_down_all()


class _Managers:
    """The managers by their key, the least recently used first. A forked child starts with none."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._managers: OrderedDict[Key, HonchoSessionManager] = OrderedDict()
        self._used: dict[Key, float] = {}
        self._keys: dict[str, set[Key]] = {}

    def get(self, context: SessionContext, config: configuration.HonchoConfig) -> HonchoSessionManager:
        key = Key(*(getattr(context, name) for name in Key._fields))
        now = time.monotonic()
        with self._lock:
            found = self._managers.get(key)
            if found is None or found.config is not config or found.is_shut_down:
                for other in [other for other in self._keys.get(key.honcho_session_key, ()) if other != key]:
                    if other.session_id != key.session_id:
                        self._let_go(other)
                found = self._managers[key] = HonchoSessionManager(context=context, config=config)
                self._keys.setdefault(key.honcho_session_key, set()).add(key)
            self._managers.move_to_end(key)
            self._used[key] = now
            self._let_go_of_old(now)
            return found

    def shut_down(self, honcho_session_key: str, session_id: str) -> int:
        with self._lock:
            keys = [key for key in self._keys.get(honcho_session_key, ()) if session_id in ("", key.session_id)]
            for key in keys:
                self._let_go(key).shutdown()
            return len(keys)

    def shut_down_all(self) -> int:
        with self._lock:
            keys = list(self._managers)
            for key in keys:
                self._let_go(key).shutdown()
            return len(keys)

    def count(self) -> int:
        with self._lock:
            return len(self._managers)

    def _let_go_of_old(self, now: float) -> None:
        """Lets go of those that are idle or too many. The one that was used last always stays."""
        own = gateway.config().honcho
        while len(self._managers) > 1:
            oldest = next(iter(self._managers))
            if len(self._managers) <= own.managers and now - self._used[oldest] < own.manager_idle_seconds:
                return
            self._let_go(oldest)

    def _let_go(self, key: Key) -> HonchoSessionManager:
        del self._used[key]
        of_key = self._keys[key.honcho_session_key]
        of_key.discard(key)
        if not of_key:
            del self._keys[key.honcho_session_key]
        return self._managers.pop(key)


_managers = _Managers()


def count() -> int:
    """How many managers this process keeps."""
    return _managers.count()


def _shut_down_with_worker(**_: Any) -> None:
    shut_down_all()


signals.worker_shutdown.connect(_shut_down_with_worker)
signals.worker_process_shutdown.connect(_shut_down_with_worker)
