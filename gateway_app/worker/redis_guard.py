"""Keeps a worker alive when its Redis broker goes away while messages are unacknowledged.

Kombu 5.7.0 then closes the channel, and whatever later touches one of its messages (the acknowledgement of a task
that ends, the return of messages to their queue) looks for the closed channel's connection and raises
AttributeError. Celery expects connection errors there; this one ends the worker. So it is turned into one: Celery
logs it, and the broker delivers the message again after its visibility timeout.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import kombu
from kombu.transport.redis import QoS
from redis.exceptions import ConnectionError as RedisConnectionError

KOMBU = "5.7.0"
"""The only release this is made for and tested with; another may not need it, or may need another."""

METHODS = ("ack", "reject", "restore_unacked")

log = logging.getLogger(__name__)


def install(**_: Any) -> None:
    """Guards kombu's Redis transport in this process. Called at every worker's start; again it changes nothing."""
    if kombu.__version__ != KOMBU:
        log.warning("The guard against a lost Redis is made for kombu %s, not %s: not used.", KOMBU, kombu.__version__)
        return
    for name in METHODS:
        method = getattr(QoS, name)
        if not hasattr(method, "__wrapped__"):
            setattr(QoS, name, _guarded(method))


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(self: QoS, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except AttributeError as error:
            if not self.channel.closed:
                raise
            raise RedisConnectionError("The message's channel was closed when the broker went away.") from error

    return guarded
