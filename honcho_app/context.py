"""Whose memory a tool call is about: what the call carries, and in the single-session CLI what that was set to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from celery import signals

from gateway_app.agent.tool_error import ToolError

from .manager import NOT_ACTIVE, HonchoSessionManager

_session_manager: HonchoSessionManager | None = None
_session_key: str | None = None
"""Both are for a process with one conversation, `manage.py chat`, and never set in any other."""


def _resolve_session_context(**kw: Any) -> tuple[HonchoSessionManager, str]:
    """The manager and the Honcho session key of a call.

    What the call carries counts, and only where it carries neither the CLI's; never one from here and one from there.
    Raises `ToolError` where there is no such pair.
    """
    manager, key = kw.get("honcho_manager"), kw.get("honcho_session_key")
    if manager is None and not key:
        manager, key = _session_manager, _session_key
    if manager is None or not key or manager.honcho_session_key != key or manager.is_shut_down:
        raise ToolError(NOT_ACTIVE)
    return manager, key


@contextlib.contextmanager
def only_session(manager: HonchoSessionManager | None) -> Iterator[None]:
    """For as long as it lasts, calls that say nothing of whose they are are those of `manager`'s session.

    Raises RuntimeError in a worker, which has many sessions, and where another one is set.
    """
    global _session_manager, _session_key
    if _is_worker:
        raise RuntimeError("This process is a worker: its calls say whose they are; allowed: manage.py chat.")
    if _session_manager is not None:
        raise RuntimeError("Another session is set in this process; allowed: one.")
    _session_manager, _session_key = manager, manager.honcho_session_key if manager else None
    try:
        yield
    finally:
        _session_manager = _session_key = None


_is_worker = False


def _in_worker(**_: Any) -> None:
    global _is_worker
    _is_worker = True


signals.worker_init.connect(_in_worker)
signals.worker_process_init.connect(_in_worker)
