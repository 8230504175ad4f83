"""Reads the streams of all conversations that are open in this process, over one connection, for all their pages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from . import stream

log = logging.getLogger(__name__)

BLOCK_SECONDS = 5.0
"""How long one read waits for entries; also the longest until a connection that is dead without a word is noticed."""
BATCH_SECONDS = 0.02
"""Pause between two reads, so that entries which arrive close together cost one."""
RETRY_SECONDS = 1.0


class Channel:
    """One conversation as the process knows it from its stream."""

    def __init__(self, chat_id: str) -> None:
        self.chat_id = chat_id
        self.position: bytes | None = None
        """The last entry read; None until the stream has been looked at since the connection was made."""
        self.changes = 0
        """Goes up when the database may have something new."""
        self.turn_id = 0
        self.text = ""
        """The reply of `turn_id` so far."""
        self.entries: list[dict[str, Any]] = []
        """What that turn has done so far."""
        self.wakers: set[asyncio.Event] = set()
        """One of each page that shows the conversation."""

    def take(self, entry: dict[bytes, bytes]) -> None:
        """Takes an entry of the stream into account. Pages are told by `wake()`."""
        if partial := stream.partial(entry):
            self._turn_to(partial.turn_id)
            gap = "…" if partial.at > len(self.text) else ""
            self.text = self.text[: partial.at] + gap + partial.text
        elif doing := stream.doing(entry):
            self._turn_to(doing.turn_id)
            self.entries = doing.entries
        else:
            self.changes += 1

    def _turn_to(self, turn_id: int) -> None:
        if turn_id != self.turn_id:
            self.turn_id, self.text, self.entries = turn_id, "", []

    def wake(self) -> None:
        for waker in self.wakers:
            waker.set()


class Hub:
    """The streams that one event loop follows."""

    def __init__(self) -> None:
        self.is_live = False
        """Whether Redis can be read; while it cannot, pages look into the database more often."""
        self.is_lost = False
        """Whether Redis was tried and could not be read; before the first try neither is true."""
        self.is_stopping = False
        self._channels: dict[bytes, Channel] = {}
        self._reader: asyncio.Task[None] | None = None
        self._wake_key = f"{settings.KEY_PREFIX}webchat-hub:{uuid.uuid4().hex}".encode()
        self._wake_position: bytes = b"0-0"

    @contextlib.asynccontextmanager
    async def watching(self, chat_id: str, waker: asyncio.Event) -> AsyncIterator[Channel]:
        """Follows the conversation's stream while the block runs; `waker` is set when the channel has changed.

        Begins once the stream has been looked at, or soon after where Redis does not answer.
        """
        key = stream.key(chat_id).encode()
        channel = self._channels.setdefault(key, Channel(chat_id))
        channel.wakers.add(waker)
        try:
            if channel.position is None:
                self._interrupt()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(waker.wait(), 0 if self.is_lost else stream.ANSWER_SECONDS)
            yield channel
        finally:
            channel.wakers.remove(waker)
            if not channel.wakers:
                del self._channels[key]

    def stop(self) -> None:
        """Ends every page's events; browsers come back by themselves."""
        self.is_stopping = True
        self._wake_all()
        if self._reader:
            self._reader.cancel()

    def _wake_all(self) -> None:
        for channel in self._channels.values():
            channel.wake()

    def _interrupt(self) -> None:
        """Has the reader look at channels that it does not follow yet."""
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="web chat streams")
        elif self.is_live:
            stream.publisher().put(self._wake_key.decode(), stream.CHANGED)

    async def _read(self) -> None:
        while self._channels:
            redis = stream.connect(answer_seconds=None)
            try:
                await self._follow(redis)
            except (RedisError, OSError, TimeoutError) as error:
                if self.is_live:
                    log.warning("Redis cannot be read (%s); pages look into the database.", type(error).__name__)
                self.is_live, self.is_lost = False, True
                self._wake_all()
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await redis.aclose()

    async def _follow(self, redis: Redis) -> None:
        for channel in self._channels.values():
            channel.position = None
        while self._channels:
            async with asyncio.timeout(BLOCK_SECONDS + stream.ANSWER_SECONDS):
                await self._look_at_new_channels(redis)
                self.is_live, self.is_lost = True, False
                positions: dict[Any, Any] = {key: channel.position for key, channel in self._channels.items()}
                positions[self._wake_key] = self._wake_position
                found: Any = await redis.xread(positions, block=int(BLOCK_SECONDS * 1000))
            for key, entries in found:
                if key == self._wake_key:
                    self._wake_position = entries[-1][0]
                elif key in self._channels:
                    self._take(self._channels[key], entries)
            await asyncio.sleep(BATCH_SECONDS)

    async def _look_at_new_channels(self, redis: Redis) -> None:
        """Takes what is in the streams that are not followed yet, and has their pages look into the database.

        Afterwards every channel has a position, also those that were opened meanwhile.
        """
        while new := [(key, channel) for key, channel in self._channels.items() if channel.position is None]:
            pipeline = redis.pipeline(transaction=False)
            for key, _ in new:
                pipeline.xrevrange(key, count=settings.WEBCHAT_STREAM_LENGTH)
            for (_, channel), newest_first in zip(new, await pipeline.execute(), strict=True):
                channel.position = b"0-0"
                channel.changes += 1
                self._take(channel, newest_first[::-1])
                channel.wake()

    def _take(self, channel: Channel, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for channel.position, entry in entries:
            channel.take(entry)
        if entries:
            channel.wake()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running loop, made at the first call."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
