from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from unittest import mock

from django.test import SimpleTestCase, override_settings
from redis.asyncio.client import Pipeline

from gateway_app.platforms.base import OutgoingPart
from gateway_app.platforms.webchat import stream
from gateway_app.platforms.webchat.adapter import Adapter
from gateway_app.platforms.webchat.hub import Channel, Hub, hub
from gateway_app.sessions.source import SessionContext
from tests.services import ValkeyServer

from .case import PATIENCE_SECONDS, ring, until, web_process


def entry(fields: Any) -> dict[bytes, bytes]:
    """`fields` as Redis returns them."""
    return {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in fields.items()}


def show(chat_id: str, text: str, *, turn_id: int = 7) -> None:
    """What a worker does while a model writes."""
    stream.publisher().put(stream.key(chat_id), stream.window(turn_id=turn_id, text=text))


class ChannelTests(SimpleTestCase):
    def test_overlapping_windows_join_to_the_whole_text(self) -> None:
        text = "".join(f"{number} " for number in range(3_000))
        channel = Channel("chat")
        for end in range(0, len(text), 700):
            channel.take(entry(stream.window(turn_id=7, text=text[:end])))
        channel.take(entry(stream.window(turn_id=7, text=text)))
        self.assertEqual(channel.text, text)

    def test_a_reader_that_comes_late_shows_that_the_beginning_is_missing(self) -> None:
        channel = Channel("chat")
        channel.take(entry(stream.window(turn_id=7, text="x" * 5_000)))
        self.assertEqual(channel.text, "…" + "x" * stream.WINDOW_CHARS)

    def test_a_reply_that_begins_again_replaces_the_old_one(self) -> None:
        channel = Channel("chat")
        for text in ("The first try", "", "Another"):
            channel.take(entry(stream.window(turn_id=7, text=text)))
        self.assertEqual(channel.text, "Another")

    def test_a_reply_of_the_next_turn_does_not_continue_the_last_one(self) -> None:
        channel = Channel("chat")
        channel.take(entry(stream.window(turn_id=7, text="One")))
        channel.take(entry(stream.window(turn_id=8, text="Two")))
        self.assertEqual((channel.turn_id, channel.text), (8, "Two"))

    def test_an_entry_that_cannot_be_read_counts_as_a_ring(self) -> None:
        channel = Channel("chat")
        channel.take({b"turn": b"seven", b"at": b"0", b"text": b"\xff"})
        self.assertEqual((channel.changes, channel.text), (1, ""))

    def test_half_a_surrogate_pair_does_not_break_an_entry(self) -> None:
        channel = Channel("chat")
        channel.take(entry(stream.window(turn_id=7, text="a\ud83d")))
        self.assertEqual(channel.text, "a?")

    def test_what_a_turn_does_is_shown_beside_its_text_and_ends_with_it(self) -> None:
        done = [{"kind": "tool", "name": "look", "detail": "", "state": "done", "count": 1}]
        channel = Channel("chat")
        channel.take(entry(stream.work(turn_id=7, entries=done)))
        channel.take(entry(stream.window(turn_id=7, text="Found")))
        self.assertEqual((channel.turn_id, channel.text, channel.entries, channel.changes), (7, "Found", done, 0))
        channel.take(entry(stream.window(turn_id=8, text="Next")))
        self.assertEqual((channel.text, channel.entries), ("Next", []))

    def test_of_much_work_an_entry_has_the_newest(self) -> None:
        many = [{"kind": "said", "text": f"{number} {'x' * 500}"} for number in range(100)]
        fields = stream.work(turn_id=7, entries=many)
        doing = stream.doing(entry(fields))
        assert doing
        self.assertLessEqual(len(fields["work"]), stream.WORK_CHARS)
        self.assertEqual(doing.entries[-1], many[-1])


class RedisCase(SimpleTestCase):
    """A Redis for all tests of the class."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.redis = cls.enterClassContext(ValkeyServer())
        cls.enterClassContext(override_settings(REDIS_URL=cls.redis.url))

    async def stored(self, chat_id: str) -> tuple[int, int]:
        """Entries of the conversation's stream, and the seconds it is kept."""
        async with stream.connect(answer_seconds=1) as client:
            return await client.xlen(stream.key(chat_id)), await client.ttl(stream.key(chat_id))


class PublisherTests(RedisCase):
    @override_settings(WEBCHAT_STREAM_LENGTH=10, WEBCHAT_STREAM_SECONDS=900)
    async def test_a_stream_is_bounded_and_does_not_stay(self) -> None:
        async with web_process():
            for number in range(300):
                show("bounded", "x" * stream.WINDOW_CHARS + str(number))
                await stream.publisher().flush()
            length, seconds = await self.stored("bounded")
        self.assertLess(length, 30)
        self.assertGreater(length, 0)
        self.assertTrue(0 < seconds <= 900, seconds)

    async def test_what_waits_for_redis_is_replaced_by_what_is_newer(self) -> None:
        async with web_process():
            for number in range(100):
                show("coarse", f"{number} words")
            ring("coarse")
            await stream.publisher().flush()
            length, _ = await self.stored("coarse")
        self.assertEqual(length, 2)

    async def test_a_send_rings_and_is_over_when_redis_has_the_ring(self) -> None:
        part = OutgoingPart(
            part_id=5, idempotency_key="turn/1/0", account="", chat_id="sent", thread_id="", reply_to="", text="Hi",
            attempts=1, unknown_outcomes=0,
        )  # fmt: skip
        async with web_process():
            self.assertEqual(await Adapter().send(part, http=mock.Mock()), "5")
            length, _ = await self.stored("sent")
        self.assertEqual(length, 1)

    async def test_without_redis_nothing_fails_and_nothing_waits(self) -> None:
        context = SessionContext(
            session_key="k", session_id="", honcho_session_key="k", platform="webchat", account="", chat_id="gone",
            chat_type="dm", thread_id="", user_id="ann", user_name="Ann",
        )  # fmt: skip
        with override_settings(REDIS_URL="redis://127.0.0.1:1/0"), self.assertLogs(stream.log, "WARNING") as logs:
            async with web_process(), asyncio.timeout(PATIENCE_SECONDS):
                for number in range(1000):
                    await Adapter().stream(context, turn_id=1, text=str(number))
                    await asyncio.sleep(0)
                await stream.publisher().flush()
        self.assertEqual(len(logs.records), 1)

    async def test_a_redis_that_hangs_is_given_up(self) -> None:
        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with override_settings(REDIS_URL=f"redis://127.0.0.1:{port}/0"), self.assertLogs(stream.log, "WARNING"):
            async with web_process(), asyncio.timeout(PATIENCE_SECONDS):
                ring("hanging")
                await stream.publisher().flush()
        server.close()

    async def test_the_first_ring_after_redis_was_restarted_arrives(self) -> None:
        # Seen to fail without a retry: the ring went to the old connection, and the page waited half a minute.
        with ValkeyServer() as redis, override_settings(REDIS_URL=redis.url):
            async with web_process():
                ring("before")
                await stream.publisher().flush()
                redis.restart()
                ring("after")
                await stream.publisher().flush()
                length, _ = await self.stored("after")
        self.assertEqual(length, 1)

    def test_kombus_name_for_a_socket_is_understood(self) -> None:
        with override_settings(REDIS_URL="redis+socket:///run/redis.sock?virtual_host=3"):
            found = stream.connect(answer_seconds=1).connection_pool.connection_kwargs
        self.assertEqual((found["path"], found["db"]), ("/run/redis.sock", 3))


class HubTests(RedisCase):
    async def test_all_pages_of_a_process_share_one_connection(self) -> None:
        async with web_process(), contextlib.AsyncExitStack() as pages, stream.connect(answer_seconds=1) as client:
            before = len(await client.client_list())
            channels = [
                await pages.enter_async_context(hub().watching(f"shared-{number % 10}", asyncio.Event()))
                for number in range(30)
            ]
            for number in range(10):
                show(f"shared-{number}", f"text {number}")
            await until(lambda: all(channel.text for channel in channels))
            # One reads for all, one writes.
            self.assertLessEqual(len(await client.client_list()), before + 2)
        self.assertEqual([channel.text for channel in channels], [f"text {number % 10}" for number in range(30)])

    async def test_a_page_that_opens_in_the_middle_gets_what_was_written_so_far(self) -> None:
        async with web_process():
            show("middle", "Once upon")
            await stream.publisher().flush()
            async with hub().watching("middle", asyncio.Event()) as channel:
                self.assertEqual(channel.text, "Once upon")

    async def test_a_second_conversation_is_followed_at_once_while_the_first_is_quiet(self) -> None:
        async with (
            web_process(),
            hub().watching("quiet", asyncio.Event()),
            asyncio.timeout(4),  # well below the time for which the reader waits for entries of the first
            hub().watching("second", asyncio.Event()) as channel,
        ):
            show("second", "Hello")
            await until(lambda: channel.text == "Hello")

    async def test_a_conversation_that_is_opened_while_another_is_looked_at_is_followed_at_once(self) -> None:
        # Seen to fail with a DataError from Redis where the look was not taken again.
        execute, late = Pipeline.execute, Channel("late")

        async def execute_and_open(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
            hub()._channels.setdefault(b"late", late)
            return await execute(pipeline, *args, **kwargs)

        with mock.patch.object(Pipeline, "execute", execute_and_open), self.assertNoLogs("gateway_app", "WARNING"):
            async with web_process(), hub().watching("first", asyncio.Event()):
                await until(lambda: late.position is not None)
                del hub()._channels[b"late"]

    async def test_a_conversation_nobody_looks_at_is_not_followed(self) -> None:
        async with web_process():
            async with hub().watching("left", asyncio.Event()):
                pass
            self.assertEqual(hub()._channels, {})

    async def test_a_page_without_redis_opens_all_the_same(self) -> None:
        with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
            async with web_process(), asyncio.timeout(PATIENCE_SECONDS), hub().watching("any", asyncio.Event()):
                self.assertFalse(hub().is_live)


class LostRedisTests(SimpleTestCase):
    async def test_after_an_outage_pages_look_into_the_database_and_follow_again(self) -> None:
        with ValkeyServer() as redis, override_settings(REDIS_URL=redis.url):
            async with web_process():
                waker = asyncio.Event()
                async with hub().watching("chat", waker) as channel:
                    await until(lambda: hub().is_live)
                    redis.kill()
                    await until(lambda: not hub().is_live)
                    changes = channel.changes
                    redis.start()
                    await until(lambda: hub().is_live)
                    self.assertGreater(channel.changes, changes)
                    self.assertTrue(waker.is_set())
                    await asyncio.sleep(0)
                    await self.retried(lambda: show("chat", "Back again"), until=lambda: channel.text == "Back again")

    async def test_a_stream_that_lost_its_data_is_followed_from_its_new_beginning(self) -> None:
        with ValkeyServer() as redis, override_settings(REDIS_URL=redis.url):
            async with web_process(), hub().watching("chat", asyncio.Event()) as channel:
                show("chat", "Before")
                await until(lambda: channel.text == "Before")
                async with stream.connect(answer_seconds=1) as client:
                    # Ids of a server whose clock was ahead.
                    await client.xadd(stream.key("chat"), {"changed": "1"}, id="99999999999999-0")
                    await until(lambda: channel.changes > 1)
                    await client.flushall()
                    await client.client_kill_filter(_type="normal", skipme=True)
                await until(lambda: not hub().is_live)
                await until(lambda: hub().is_live)
                await self.retried(lambda: show("chat", "After"), until=lambda: channel.text == "After")

    async def retried(self, act: Any, *, until: Any) -> None:
        """Does `act` until it has its effect: right after an outage a worker does not publish for a moment."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not until():
                act()
                await asyncio.sleep(0.1)


class HubLifeTests(RedisCase):
    async def test_the_reader_ends_with_the_last_page_and_starts_with_the_next(self) -> None:
        with mock.patch("gateway_app.platforms.webchat.hub.BLOCK_SECONDS", 0.2):
            async with web_process():
                own = Hub()
                async with own.watching("chat", asyncio.Event()):
                    reader = own._reader
                assert reader is not None
                await until(reader.done)
                async with own.watching("chat", asyncio.Event()) as channel:
                    show("chat", "Hello")
                    await until(lambda: channel.text == "Hello")
                own.stop()
