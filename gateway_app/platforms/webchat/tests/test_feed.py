from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.test import override_settings

from gateway_app.platforms.webchat import conversations, stream
from gateway_app.platforms.webchat import feed as feed_module
from gateway_app.platforms.webchat.conversations import Cursor
from gateway_app.platforms.webchat.feed import feed
from gateway_app.platforms.webchat.hub import hub
from tests.services import ValkeyServer

from .case import PATIENCE_SECONDS, Events, WebchatCase, ring, until, web_process

NEVER = 3600.0
"""Seconds that no test waits: what comes within them came through the stream."""


@contextlib.asynccontextmanager
async def page(chat_id: str, cursor: Cursor | str = "") -> AsyncIterator[Events]:
    """A page that is open."""
    events = Events(feed(chat_id=chat_id, cursor=Cursor.parse(str(cursor))))
    try:
        yield events
    finally:
        await events.close()


class FeedCase(WebchatCase):
    async def do(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs what a worker does in the database."""
        return await sync_to_async(function)(*args, **kwargs)

    async def show(self, turn_id: int, text: str) -> None:
        stream.publisher().put(stream.key(self.chat), stream.window(turn_id=turn_id, text=text))
        await stream.publisher().flush()


@override_settings(WEBCHAT_CHECK_SECONDS=NEVER, WEBCHAT_IDLE_CHECK_SECONDS=NEVER, WEBCHAT_POLL_SECONDS=NEVER)
class LiveTests(FeedCase):
    """With Redis, where the database is asked only because something rang."""

    def setUp(self) -> None:
        super().setUp()
        redis = ValkeyServer()
        redis.start()
        self.addCleanup(redis.stop)
        self.enterContext(override_settings(REDIS_URL=redis.url))

    async def test_a_reply_is_shown_while_it_is_written_and_then_whole(self) -> None:
        await self.do(self.write, "Hello")
        async with web_process(), page(self.chat) as events:
            self.assertEqual((await events.next())["items"][0]["state"], "waiting")
            turn = await self.do(self.open_turn)
            ring(self.chat)
            self.assertEqual((await events.next())["running"], turn.turn_id)
            await self.show(turn.turn_id, "Go")
            self.assertEqual(await events.next(), {"event": "partial", "turn": turn.turn_id, "text": "Go"})
            await self.show(turn.turn_id, "Good day")
            self.assertEqual(await events.next(), {"event": "partial", "turn": turn.turn_id, "more": "od day"})
            await self.do(self.close_turn, turn, "Good day.")
            ring(self.chat)
            final = await events.next()
        self.assertEqual(
            [(item["from"], item["text"]) for item in final["items"]], [("you", "Hello"), ("agent", "Good day.")]
        )
        self.assertEqual((final["items"][1]["turn"], final["running"]), (turn.turn_id, 0))

    async def test_what_a_turn_does_is_shown_before_it_says_anything(self) -> None:
        done = [{"kind": "tool", "name": "look", "detail": "up", "state": "running", "count": 1}]
        await self.do(self.write, "Hello")
        async with web_process(), page(self.chat) as events:
            await events.next("update")
            turn = await self.do(self.open_turn)
            stream.publisher().put(stream.key(self.chat), stream.work(turn_id=turn.turn_id, entries=done))
            self.assertEqual((await events.next("update"))["running"], turn.turn_id)
            self.assertEqual(await events.next(), {"event": "work", "turn": turn.turn_id, "entries": done})
            await self.show(turn.turn_id, "It is")
            self.assertEqual(await events.next(), {"event": "partial", "turn": turn.turn_id, "text": "It is"})

    async def test_the_text_of_a_turn_that_has_not_rung_is_shown(self) -> None:
        await self.do(self.write, "Hello")
        async with web_process(), page(self.chat) as events:
            await events.next("update")
            turn = await self.do(self.open_turn)
            await self.show(turn.turn_id, "Go")
            self.assertEqual((await events.next("partial"))["text"], "Go")

    async def test_the_text_of_a_turn_that_has_ended_is_not_shown(self) -> None:
        await self.do(self.write, "Hello")
        turn = await self.do(self.open_turn)
        await self.do(self.close_turn, turn, "Done")
        async with web_process():
            await self.show(turn.turn_id, "Do")
            async with page(self.chat) as events:
                await events.texts(2)
                await self.do(self.write, "Another")
                ring(self.chat)
                self.assertEqual((await events.next())["event"], "update")

    async def test_a_reply_that_begins_again_replaces_what_was_shown(self) -> None:
        await self.do(self.write, "Hello")
        turn = await self.do(self.open_turn)
        async with web_process(), page(self.chat) as events:
            await self.show(turn.turn_id, "The first try")
            await events.next("partial")
            await self.show(turn.turn_id, "Another")
            self.assertEqual(
                await events.next("partial"), {"event": "partial", "turn": turn.turn_id, "text": "Another"}
            )

    async def test_a_page_that_comes_back_misses_nothing(self) -> None:
        await self.do(self.write, "One")
        await self.do(self.answer, "First")
        async with web_process():
            async with page(self.chat) as events:
                await events.texts(2)
                cursor = events.last_id
            await self.do(self.write, "Two")
            await self.do(self.answer, "Second")
            await self.do(self.write, "Three")
            async with page(self.chat, cursor) as events:
                self.assertEqual(await events.texts(3), ["Two", "Second", "Three"])

    async def test_messages_whose_entries_were_trimmed_are_not_missed(self) -> None:
        await self.do(self.write, "One")
        async with web_process(), page(self.chat) as events:
            await events.next("update")
            await self.do(self.answer, "First")
            await self.do(self.write, "Two")
            turn = await self.do(self.open_turn)
            # The ring for the first answer was trimmed away; only the next turn's text is left in the stream.
            await self.show(turn.turn_id, "Sec")
            self.assertEqual(await events.texts(3), ["One", "First", "Two"])
            self.assertEqual((await events.next("partial"))["text"], "Sec")

    async def test_many_pages_of_a_conversation_all_get_everything(self) -> None:
        async with web_process(), contextlib.AsyncExitStack() as stack:
            pages = [await stack.enter_async_context(page(self.chat)) for _ in range(10)]
            await asyncio.gather(*(events.next("update") for events in pages))
            await self.do(self.write, "Hello")
            ring(self.chat)
            self.assertEqual(await asyncio.gather(*(events.texts(1) for events in pages)), [["Hello"]] * 10)

    async def test_nothing_of_one_conversation_reaches_another(self) -> None:
        async with web_process(), page(self.chat) as anns, page(self.bobs_chat) as bobs:
            await anns.next("update")
            await bobs.next("update")
            await self.do(self.write, "Private")
            ring(self.chat)
            ring(self.bobs_chat)
            self.assertEqual(await anns.texts(1), ["Private"])
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await bobs.next("update")

    async def test_a_stop_of_the_process_ends_the_events(self) -> None:
        async with web_process(), page(self.chat) as events:
            await events.next("update")
            hub().stop()
            with self.assertRaises(StopAsyncIteration):
                await events.next()

    @override_settings(WEBCHAT_CONNECTION_SECONDS=0.1)
    async def test_events_end_after_a_while_so_that_who_asks_is_checked_again(self) -> None:
        async with web_process(), page(self.chat) as events:
            await events.next("update")
            with self.assertRaises(StopAsyncIteration):
                await events.next()

    async def test_a_quiet_connection_has_a_heartbeat(self) -> None:
        with mock.patch.object(feed_module, "HEARTBEAT_SECONDS", 0.05):
            pieces = feed(chat_id=self.chat, cursor=Cursor())
            async with web_process(), asyncio.timeout(PATIENCE_SECONDS), contextlib.aclosing(pieces):
                beats = 0
                async for piece in pieces:
                    beats += piece.startswith(b": ")
                    if beats == 3:
                        break


@override_settings(
    REDIS_URL="redis://127.0.0.1:1/0",
    WEBCHAT_CHECK_SECONDS=NEVER,
    WEBCHAT_IDLE_CHECK_SECONDS=NEVER,
    WEBCHAT_POLL_SECONDS=0.05,
)
class WithoutRedisTests(FeedCase):
    async def test_messages_come_from_the_database(self) -> None:
        async with web_process(), page(self.chat) as events:
            await events.next("update")
            await self.do(self.write, "Hello")
            await self.do(self.answer, "Good day")
            self.assertEqual((await events.texts(2))[-1], "Good day")

    async def test_an_unchanged_conversation_is_not_sent_again(self) -> None:
        await self.do(self.write, "Hello")
        async with web_process(), page(self.chat) as events:
            await events.next("update")
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0.4):
                    await events.next("update")


@override_settings(WEBCHAT_CHECK_SECONDS=0.05, WEBCHAT_IDLE_CHECK_SECONDS=0.05, WEBCHAT_POLL_SECONDS=NEVER)
class LostRingTests(FeedCase):
    async def test_a_ring_that_no_worker_could_publish_costs_time_only(self) -> None:
        with ValkeyServer() as redis, override_settings(REDIS_URL=redis.url):
            async with web_process(), page(self.chat) as events:
                await events.next("update")
                await until(lambda: hub().is_live)
                await self.do(self.write, "Hello")
                await self.do(self.answer, "Good day")
                self.assertEqual((await events.texts(2))[-1], "Good day")


@override_settings(REDIS_URL="redis://127.0.0.1:1/0", WEBCHAT_POLL_SECONDS=0.05)
class WithoutDatabaseTests(FeedCase):
    async def test_the_page_is_told_once_and_goes_on_by_itself(self) -> None:
        away = mock.patch.object(conversations, "news", side_effect=OperationalError("connection refused"))
        async with web_process(), page(self.chat) as events:
            await events.next("update")
            with away as broken:
                trouble = await events.next()
                following = asyncio.create_task(events.next())
                await until(lambda: broken.call_count > 3)
                self.assertFalse(following.done())
            await self.do(self.write, "Hello")
            items = (await following)["items"] or (await events.next())["items"]
        self.assertEqual(trouble["event"], "trouble")
        self.assertIn("Nothing is lost", trouble["text"])
        self.assertEqual([item["text"] for item in items], ["Hello"])


@override_settings(WEBCHAT_CHECK_SECONDS=NEVER, WEBCHAT_IDLE_CHECK_SECONDS=NEVER, WEBCHAT_POLL_SECONDS=0.05)
class LosingRedisTests(FeedCase):
    async def test_an_open_page_looks_into_the_database_as_soon_as_redis_is_lost(self) -> None:
        with ValkeyServer() as redis, override_settings(REDIS_URL=redis.url):
            async with web_process(), page(self.chat) as events:
                await events.next("update")
                following = asyncio.create_task(events.texts(2))
                redis.kill()
                await until(lambda: hub().is_lost)
                await self.do(self.write, "Hello")
                await self.do(self.answer, "Good day")
                self.assertEqual((await following)[-1], "Good day")
