"""One Redis stream per conversation: a doorbell for the pages that show it, the reply while it is written, and what the
turn does meanwhile.

An entry with `text` is a window on the end of an unfinished reply, one with `work` has all that the turn has done so
far, and any other says that the database has something new. None is the truth: a page that misses every entry shows the
same from the database, later.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from gateway_app.redis_address import redis_address
from gateway_app.worker.loop import event_loop

log = logging.getLogger(__name__)

WINDOW_CHARS = 2_000
"""An entry holds this much of the end of the reply; consecutive ones overlap, and a reader joins them."""
WORK_CHARS = 8_000
"""Of what a turn does an entry holds the newest, so much."""
ANSWER_SECONDS = 1.0
"""Redis on the same network answers within a millisecond; the reply must not wait for one that hangs."""
PAUSE_SECONDS = 2.0
"""After a failure nothing is published for so long, so that a turn is not slowed by a dead Redis."""

Fields = Mapping[Any, Any]
"""An entry: names and values are text or bytes."""
CHANGED: Fields = {"changed": "1"}


@dataclass(frozen=True, slots=True)
class Partial:
    """The end of a reply that is being written: `text` follows its first `at` characters."""

    turn_id: int
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Doing:
    """What a turn has done so far, as `turns/work.py` has it."""

    turn_id: int
    entries: list[dict[str, Any]]


def key(chat_id: str) -> str:
    return f"{settings.KEY_PREFIX}webchat:{chat_id}"


def window(*, turn_id: int, text: str) -> Fields:
    """The entry that shows `text`, the whole reply so far."""
    at = max(0, len(text) - WINDOW_CHARS)
    # A model may send half of a surrogate pair, which UTF-8 cannot hold.
    return {"turn": str(turn_id), "at": str(at), "text": text[at:].encode("utf-8", "replace")}


def partial(entry: Mapping[bytes, bytes]) -> Partial | None:
    """What an entry shows, if it is a `window`."""
    try:
        return Partial(int(entry[b"turn"]), int(entry[b"at"]), entry[b"text"].decode())
    except (KeyError, ValueError):
        return None


def work(*, turn_id: int, entries: list[dict[str, Any]]) -> Fields:
    """The entry that shows all that the turn has done so far."""
    kept = list(entries)
    while len(text := json.dumps(kept, ensure_ascii=False)) > WORK_CHARS and len(kept) > 1:
        del kept[0]
    return {"turn": str(turn_id), "work": text.encode("utf-8", "replace")}


def doing(entry: Mapping[bytes, bytes]) -> Doing | None:
    """What an entry shows, if it is one of `work()`."""
    try:
        return Doing(int(entry[b"turn"]), json.loads(entry[b"work"]))
    except (KeyError, ValueError):
        return None


def connect(*, answer_seconds: float | None, retries: int = 0) -> Redis:
    """A client that fails at once, or at its last retry. Without `answer_seconds` it may wait for an answer.

    A retry is for a connection that Redis has closed since its last use; one that does not answer is given up.
    """
    return Redis.from_url(
        redis_address(),
        socket_connect_timeout=ANSWER_SECONDS,
        socket_timeout=answer_seconds,
        retry=Retry(NoBackoff(), retries, supported_errors=(RedisConnectionError,)),
    )


class Publisher:
    """Adds entries to streams from one event loop, in batches over one connection. Never raises.

    While a batch is under way, newer entries of a stream replace older ones of their kind, so that a slow Redis
    makes the shown text coarser and nothing else.
    """

    def __init__(self) -> None:
        self._redis = connect(answer_seconds=ANSWER_SECONDS, retries=1)
        self._waiting: dict[tuple[str, frozenset[str]], Fields] = {}
        self._sending: asyncio.Task[None] | None = None
        self._paused_until = 0.0

    def put(self, stream: str, fields: Fields) -> None:
        """Has `fields` added to `stream` soon."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._paused_until:
            return
        self._waiting[stream, frozenset(fields)] = fields
        if self._sending is None or self._sending.done():
            self._sending = loop.create_task(self._send())

    async def flush(self) -> None:
        """Returns when what was put is in Redis, or is given up."""
        if self._sending:
            await asyncio.wait([self._sending])

    async def close(self) -> None:
        await self.flush()
        await self._redis.aclose()

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, {}
            pipeline = self._redis.pipeline(transaction=False)
            for (stream, _), fields in batch.items():
                pipeline.xadd(stream, {**fields}, maxlen=settings.WEBCHAT_STREAM_LENGTH, approximate=True)
                pipeline.expire(stream, settings.WEBCHAT_STREAM_SECONDS)
            try:
                async with asyncio.timeout(2 * ANSWER_SECONDS):
                    await pipeline.execute()
            except (RedisError, OSError, TimeoutError) as error:
                self._paused_until = asyncio.get_running_loop().time() + PAUSE_SECONDS
                self._waiting.clear()
                log.warning(
                    "Redis did not take what the web chat shows live (%s); pages look into the database instead.",
                    type(error).__name__,
                )


_publishers: WeakKeyDictionary[asyncio.AbstractEventLoop, Publisher] = WeakKeyDictionary()


def publisher() -> Publisher:
    """The publisher of the running loop, made at the first call."""
    loop = asyncio.get_running_loop()
    if loop not in _publishers:
        _publishers[loop] = Publisher()
    return _publishers[loop]


async def close_publisher() -> None:
    """Closes the running loop's publisher; workers do it at their end, the web process at its own."""
    found = _publishers.pop(asyncio.get_running_loop(), None)
    if found:
        await found.close()


event_loop.at_stop.append(close_publisher)
