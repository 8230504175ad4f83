"""The inbound limits at the door: who is turned away, who is told so and how often, and what a crash does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

from django.db import DatabaseError
from django.db.models import F
from django.test import TestCase, TransactionTestCase, override_settings

from gateway_app import inbox, metrics, tasks
from gateway_app.access import buckets, limits
from gateway_app.models import Channel, InboundMessage, OutboundPart, RateBucket, Session
from gateway_app.platforms.base import InboundEvent
from gateway_app.sessions.source import ChatType, SessionSource
from tests import pipeline
from tests.configuration import configured, open_to_all
from tests.services import ValkeyServer
from tests.test_lanes import at_once

GROUP = {"chat_id": "group", "chat_type": ChatType.GROUP}


def limited(**values: int) -> configured:
    """Limits of a test's own; those that it does not name do not limit."""
    none = {"sender_per_minute": 0, "sender_burst": 1, "chat_per_minute": 0, "chat_burst": 1}
    return configured(limits=none | values)


def count(outcome: str) -> float:
    return metrics.ACCEPTED.labels(platform="recording", outcome=outcome)._value.get()


def texts() -> list[str]:
    return list(InboundMessage.objects.order_by("id").values_list("text", flat=True))


class DoorTests(TestCase):
    def setUp(self) -> None:
        pipeline.use_recording_platform(self)

    @limited(sender_per_minute=1, sender_burst=2)
    def test_messages_beyond_the_burst_leave_nothing_but_a_notice(self) -> None:
        before = count("limited")
        events = [pipeline.event(text) for text in "abcd"]
        accepted = inbox.accept(events)
        self.assertEqual(texts(), ["a", "b"])
        self.assertEqual(set(accepted.limited), {event.event_id for event in events[2:]})
        self.assertEqual(count("limited") - before, 2)
        notice = OutboundPart.objects.get()
        self.assertEqual(accepted.chats, [notice.lane.key])
        self.assertEqual((notice.chat_id, notice.reply_to), ("chat-ann", events[2].message_id))
        self.assertRegex(
            notice.text,
            r"^You are writing faster than I can answer: since \d\d:\d\d:\d\d UTC I have left out messages\."
            r" Please go on in (60|59) seconds, and send again what I did not answer\.$",
        )

    @limited(sender_per_minute=1)
    def test_a_batch_that_is_turned_away_as_a_whole_opens_no_session(self) -> None:
        pipeline.accept("1")
        pipeline.accept("2", user="bob")
        Session.objects.all().delete()
        Channel.objects.all().delete()
        self.assertEqual(len(pipeline.accept("3", "4").limited), 2)
        self.assertEqual((Session.objects.count(), Channel.objects.count()), (0, 0))

    @limited(sender_per_minute=1)
    def test_a_chat_is_told_once_in_a_window_and_again_in_the_next(self) -> None:
        chats = [pipeline.accept(text).chats for text in "abcd"]
        self.assertEqual([len(told) for told in chats], [0, 1, 0, 0])
        self.assertEqual(OutboundPart.objects.count(), 1)
        RateBucket.objects.update(noticed_at=F("noticed_at") - timedelta(seconds=limits.WINDOW_SECONDS + 1))
        for text in "ef":
            pipeline.accept(text)
        self.assertEqual(OutboundPart.objects.count(), 2)

    @limited(sender_per_minute=1)
    def test_a_window_that_a_clock_set_back_left_in_the_future_is_over(self) -> None:
        pipeline.accept("1", "2")
        RateBucket.objects.update(noticed_at=F("noticed_at") + timedelta(hours=1))
        pipeline.accept("3")
        self.assertEqual(OutboundPart.objects.count(), 2)

    @limited(sender_per_minute=1)
    def test_a_group_is_told_once_whoever_writes_too_fast(self) -> None:
        inbox.accept([pipeline.event(text, user=user, **GROUP) for text in "ab" for user in ("ann", "bob", "cy")])
        self.assertEqual(texts(), ["a", "a", "a"])
        self.assertEqual(OutboundPart.objects.get().chat_id, "group")

    @limited(sender_per_minute=1, sender_burst=2)
    def test_a_senders_limit_holds_over_all_chats_and_for_nobody_else(self) -> None:
        places: list[dict[str, Any]] = [{}, GROUP, {"chat_id": "other", "chat_type": ChatType.GROUP}]
        inbox.accept([pipeline.event("ann", **place) for place in places])
        inbox.accept([pipeline.event("bob", user="bob", **GROUP)])
        self.assertEqual(texts(), ["ann", "ann", "bob"])

    @limited(sender_per_minute=1)
    def test_a_second_id_that_stays_is_what_counts(self) -> None:
        inbox.accept([pipeline.event("x", user=user, user_id_alt="stable") for user in ("old", "new")])
        self.assertEqual(len(texts()), 1)

    @limited(chat_per_minute=1, chat_burst=2)
    def test_a_chats_limit_holds_for_all_senders_together(self) -> None:
        inbox.accept([pipeline.event(user, user=user, **GROUP) for user in ("ann", "bob", "cy")])
        inbox.accept([pipeline.event("alone", user="cy")])
        self.assertEqual(texts(), ["ann", "bob", "alone"])

    @limited(chat_per_minute=1)
    @configured(access={"platforms": {"recording": {"group_allowed_chats": ["group"], "allow_all_users": False}}})
    def test_senders_without_an_id_share_their_chats_bucket(self) -> None:
        inbox.accept([pipeline.event(text, user="", **GROUP) for text in "ab"])
        self.assertEqual(texts(), ["a"])

    @limited(sender_per_minute=1)
    @configured(access={"platforms": {"recording": {"allow_all_users": False}}})
    def test_denied_people_are_told_nothing_and_take_no_tokens(self) -> None:
        self.assertEqual(len(pipeline.accept("1", "2", "3").denied), 3)
        self.assertEqual((OutboundPart.objects.count(), RateBucket.objects.count()), (0, 0))
        with open_to_all("recording"):
            self.assertEqual(pipeline.accept("4").limited, {})

    @limited()
    def test_zero_is_no_limit(self) -> None:
        pipeline.accept(*"abcdefgh")
        self.assertEqual((len(texts()), RateBucket.objects.count()), (8, 0))

    @limited(sender_per_minute=1, chat_per_minute=1)
    @open_to_all("cli")
    def test_the_command_line_is_not_limited(self) -> None:
        source = SessionSource(platform="cli", chat_id="t", chat_type=ChatType.DM, user_id="ann")
        inbox.accept([InboundEvent(event_id=f"{number}", source=source, text="x") for number in range(5)])
        self.assertEqual(len(texts()), 5)

    @limited(sender_per_minute=1, chat_per_minute=1)
    def test_ids_may_be_long_and_hold_anything(self) -> None:
        for chat_id in ("x" * 10_000, "a:b\n*", "\ud800", "', 'b"):
            source = pipeline.source(chat_id, chat_id=chat_id)
            charge = limits.Charge([InboundEvent(event_id="1", source=source, text="x")])
            charge.settle()
        self.assertEqual(RateBucket.objects.count(), 8)
        self.assertLess(max(len(row.key) for row in RateBucket.objects.all()), 64)

    def test_ids_are_told_apart_however_they_are_divided(self) -> None:
        self.assertNotEqual(limits._digest("a", "b', 'c"), limits._digest("a", "b", "c"))


class RedeliveryTests(TestCase):
    def setUp(self) -> None:
        pipeline.use_recording_platform(self)

    @limited(sender_per_minute=1, sender_burst=2)
    def test_events_that_are_rows_are_neither_turned_away_nor_answered_nor_charged(self) -> None:
        events = [pipeline.event(text) for text in "ab"]
        inbox.accept(events[:1])
        for _ in range(3):
            accepted = inbox.accept(events[:1])
            self.assertEqual((accepted.limited, accepted.event_ids), ({}, set()))
        self.assertEqual(inbox.accept(events).event_ids, {events[1].event_id})
        # The bucket is empty now, and they are known all the same.
        self.assertEqual(inbox.accept(events).limited, {})
        self.assertEqual((texts(), OutboundPart.objects.count()), (["a", "b"], 0))

    @limited(sender_per_minute=1)
    def test_an_event_that_was_turned_away_is_answered_once_and_may_be_taken_later(self) -> None:
        events = [pipeline.event(text) for text in "ab"]
        inbox.accept(events)
        self.assertEqual(set(inbox.accept(events).limited), {events[1].event_id})
        RateBucket.objects.update(filled_at=F("filled_at") - timedelta(minutes=1))
        self.assertEqual(inbox.accept(events[1:]).event_ids, {events[1].event_id})
        self.assertEqual((texts(), OutboundPart.objects.count()), (["a", "b"], 1))

    @limited(sender_per_minute=1, sender_burst=2)
    def test_an_event_that_stands_twice_in_a_batch_is_taken_once_and_not_turned_away(self) -> None:
        same = pipeline.event("a")
        self.assertEqual(inbox.accept([same, same, same]).limited, {})
        self.assertEqual(texts(), ["a"])

    @limited(sender_per_minute=1, sender_burst=2)
    def test_a_batch_that_fails_costs_nothing(self) -> None:
        def fail() -> None:
            raise DatabaseError("read-only")

        for _ in range(3):
            self.assertRaises(DatabaseError, inbox.accept, [pipeline.event("x")], assert_held=fail)
        self.assertEqual(pipeline.accept("a", "b").limited, {})


class RedisCase(TransactionTestCase):
    """The limits with a Valkey server of the test's own."""

    def setUp(self) -> None:
        pipeline.use_recording_platform(self)
        self.server = self.enterContext(ValkeyServer())
        self.enterContext(override_settings(REDIS_URL=self.server.url))
        self.addCleanup(limits.redis_buckets.cache_clear)

    @property
    def store(self) -> buckets.RedisBuckets:
        return limits.redis_buckets(self.server.url, prefix="hermes:")


class RedisTests(RedisCase):
    @limited(sender_per_minute=1, sender_burst=2)
    def test_while_redis_answers_the_table_keeps_only_windows(self) -> None:
        pipeline.accept("a", "b")
        self.assertEqual(RateBucket.objects.count(), 0)
        pipeline.accept("c", "d")
        self.assertTrue(RateBucket.objects.get().key.startswith("chat:"))
        self.assertEqual((texts(), OutboundPart.objects.count()), (["a", "b"], 1))

    @limited(sender_per_minute=1, sender_burst=2)
    def test_known_events_get_their_tokens_back(self) -> None:
        same = pipeline.event("a")
        for _ in range(5):
            inbox.accept([same])
        self.assertEqual(len(pipeline.accept("b", "c").limited), 1)
        self.assertEqual(texts(), ["a", "b"])

    @limited(sender_per_minute=1, sender_burst=2)
    def test_a_new_event_beside_known_ones_gets_what_they_gave_back(self) -> None:
        same = pipeline.event("a")
        inbox.accept([same])
        self.assertEqual(inbox.accept([same, pipeline.event("b")]).limited, {})
        self.assertEqual(len(inbox.accept([same, pipeline.event("c")]).limited), 1)

    @limited(sender_per_minute=1, sender_burst=2)
    def test_a_batch_that_fails_costs_nothing(self) -> None:
        with mock.patch.object(inbox, "_record", side_effect=DatabaseError("full")):
            for _ in range(3):
                self.assertRaises(DatabaseError, pipeline.accept, "x")
        self.assertEqual(pipeline.accept("a", "b").limited, {})

    @limited(sender_per_minute=1, sender_burst=2)
    def test_the_database_takes_over_where_redis_dies_and_hands_back_when_it_lives(self) -> None:
        pipeline.accept("a")
        self.server.kill()
        with self.assertLogs("gateway_app.access.buckets", "WARNING") as logs:
            accepted = pipeline.accept("b", "c", "d")
        self.assertIn("Redis does not keep the limits", logs.output[0])
        self.assertEqual(len(accepted.limited), 1)
        self.assertEqual(RateBucket.objects.filter(key__startswith="sender:").count(), 1)
        self.server.start()
        self.store._ask_at = 0  # the pause is over
        with self.assertLogs("gateway_app.access.buckets", "INFO") as logs:
            # What Redis kept of Ann's bucket is older than what the table knows: at most one burst more passes.
            accepted = pipeline.accept("e", "f", "g")
        self.assertIn("Redis keeps the limits again", logs.output[0])
        self.assertGreaterEqual(len(accepted.limited), 1)
        RateBucket.objects.all().delete()
        pipeline.accept("h", user="bob")
        self.assertFalse(RateBucket.objects.exists())


class ConcurrentNoticeTests(RedisCase):
    @limited(sender_per_minute=1, sender_burst=3)
    def test_fifty_at_once_are_told_once(self) -> None:
        for place, redis_url in (("redis", self.server.url), ("table", "redis://127.0.0.1:1/0")):
            with self.subTest(place), override_settings(REDIS_URL=redis_url):
                found: list[inbox.Accepted] = []
                events = [pipeline.event("x", user=place) for _ in range(50)]
                at_once(*[self.accepting(event, found) for event in events])
                self.assertEqual(sum(len(accepted.limited) for accepted in found), 47)
                self.assertEqual(InboundMessage.objects.filter(user_id=place).count(), 3)
                self.assertEqual(OutboundPart.objects.filter(chat_id=f"chat-{place}").count(), 1)

    @limited(sender_per_minute=1)
    def test_two_processes_that_refuse_one_update_answer_it_once(self) -> None:
        pipeline.accept("a")
        same = pipeline.event("b")
        found: list[inbox.Accepted] = []
        at_once(*[self.accepting(same, found)] * 8)
        self.assertEqual([set(accepted.limited) for accepted in found], [{same.event_id}] * 8)
        self.assertEqual(OutboundPart.objects.count(), 1)

    def accepting(self, event: InboundEvent, found: list[inbox.Accepted]) -> Callable[[], None]:
        return lambda: found.append(inbox.accept([event]))


class PruneTests(TestCase):
    def setUp(self) -> None:
        pipeline.use_recording_platform(self)

    @limited(sender_per_minute=1, sender_burst=5)
    def test_rows_that_say_no_more_than_a_missing_one_are_dropped(self) -> None:
        pipeline.accept("a")
        self.assertEqual(limits.prune(), 0)
        RateBucket.objects.update(filled_at=F("filled_at") - timedelta(seconds=299))
        self.assertEqual(limits.prune(), 0)
        RateBucket.objects.update(filled_at=F("filled_at") - timedelta(seconds=2))
        self.assertEqual((limits.prune(), RateBucket.objects.count()), (1, 0))

    @limited(sender_per_minute=60)
    def test_an_open_window_is_kept(self) -> None:
        pipeline.accept("a", "b")
        RateBucket.objects.update(filled_at=F("filled_at") - timedelta(days=1))
        self.assertEqual(limits.prune(), 1)
        RateBucket.objects.update(noticed_at=F("noticed_at") - timedelta(days=1))
        self.assertEqual(limits.prune(), 1)


class BeatTests(TransactionTestCase):
    def setUp(self) -> None:
        pipeline.use_recording_platform(self)

    @limited(sender_per_minute=60)
    def test_the_beats_task_drops_old_rows(self) -> None:
        pipeline.accept("a")
        RateBucket.objects.update(filled_at=F("filled_at") - timedelta(days=1))
        pipeline.run(tasks.tend_access.run())
        self.assertFalse(RateBucket.objects.exists())
