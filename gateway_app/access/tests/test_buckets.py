"""Token buckets: the same whichever place keeps them, and whoever asks."""

from __future__ import annotations

import itertools
import socket
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import TestCase, mock

from django.db import transaction
from django.db.models import F
from django.test import TransactionTestCase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as DatabaseTestCase

from gateway_app.access import buckets
from gateway_app.access.buckets import (
    Bucket,
    BucketKind,
    Demand,
    Rate,
    Rates,
    RedisAway,
    RedisBuckets,
    give_back_to_table,
    take_from_table,
)
from gateway_app.models import RateBucket
from tests.services import ValkeyServer
from tests.test_lanes import at_once, together

RATES: Rates = {BucketKind.CHAT: Rate(1, 5), BucketKind.SENDER: Rate(1, 3)}
"""One token a minute, so that what a test lasts adds none."""

_names = itertools.count(1)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=8)),
        st.tuples(st.just("wait"), st.integers(0, 4)),
    ),
    max_size=12,
)
"""Batches of messages, each of a sender in a chat, and whole minutes that pass."""


def sender(name: str) -> Bucket:
    return Bucket(BucketKind.SENDER, name)


def chat(name: str) -> Bucket:
    return Bucket(BucketKind.CHAT, name)


class InTable:
    """The buckets in the table."""

    def take(self, demands: list[Demand], rates: Rates = RATES) -> list[float]:
        with transaction.atomic():
            return take_from_table(demands, rates)

    def pass_time(self, seconds: float) -> None:
        RateBucket.objects.update(filled_at=F("filled_at") - timedelta(seconds=seconds))


class InRedis:
    """The buckets in a Valkey server of the test's own."""

    server: ValkeyServer

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = ValkeyServer()
        cls.server.start()
        cls.addClassCleanup(cls.server.stop)
        cls.store = RedisBuckets(cls.server.url, prefix="test:")
        cls.addClassCleanup(cls.store.close)

    def take(self, demands: list[Demand], rates: Rates = RATES) -> list[float]:
        return self.store.take(demands, rates)

    def pass_time(self, seconds: float) -> None:
        redis = self.store._redis
        for key in redis.scan_iter():
            kept = redis.get(key)
            if kept is None:  # full again
                continue
            tokens, at = kept.split()
            redis.set(key, f"{tokens.decode()} {float(at) - seconds * 1000:.3f}", keepttl=True)
            redis.pexpire(key, max(1, redis.pttl(key) - int(seconds * 1000)))


class BucketTests:
    """What holds in both places."""

    def test_a_burst_passes_and_then_the_rate_holds(self) -> None:
        bucket = sender(f"burst-{next(_names)}")
        waits = self.take([(bucket,)] * 5)
        self.assertEqual([wait > 0 for wait in waits], [False, False, False, True, True])
        self.assertAlmostEqual(waits[3], 60, delta=5)
        self.pass_time(120)
        self.assertEqual([wait > 0 for wait in self.take([(bucket,)] * 4)], [False, False, True, True])

    def test_a_message_takes_from_all_of_its_buckets_or_from_none(self) -> None:
        flooder, other, place = sender(f"a-{next(_names)}"), sender(f"b-{next(_names)}"), chat(f"c-{next(_names)}")
        self.take([(place, flooder)] * 40)
        self.assertEqual([wait > 0 for wait in self.take([(place, other)] * 3)], [False, False, True])

    def test_a_clock_that_jumps_back_takes_nothing_and_fills_on_from_there(self) -> None:
        bucket = sender(f"back-{next(_names)}")
        self.take([(bucket,)] * 2)
        self.pass_time(-3600)
        self.assertEqual([wait > 0 for wait in self.take([(bucket,)] * 2)], [False, True])
        self.pass_time(61)
        self.assertEqual(self.take([(bucket,)]), [0])

    def test_a_smaller_burst_holds_at_once(self) -> None:
        bucket = sender(f"smaller-{next(_names)}")
        self.take([(bucket,)])
        rates = {BucketKind.SENDER: Rate(1, 1)}
        self.assertEqual([wait > 0 for wait in self.take([(bucket,)] * 2, rates)], [False, True])

    def test_messages_that_nothing_limits_are_taken(self) -> None:
        self.assertEqual(self.take([(), ()]), [0, 0])

    @given(steps)
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def test_no_interleaving_gives_more_than_the_burst_and_what_was_gained(self, script: list[tuple[str, Any]]) -> None:
        run = next(_names)
        levels: dict[Bucket, float] = {}
        for name, argument in script:
            if name == "wait":
                self.pass_time(argument * 60)
                for bucket, level in levels.items():
                    levels[bucket] = min(RATES[bucket.kind].burst, level + argument)
                continue
            demands = [(chat(f"{run}-{place}"), sender(f"{run}-{person}")) for place, person in argument]
            expected = []
            for demand in demands:
                is_taken = all(levels.setdefault(bucket, RATES[bucket.kind].burst) >= 1 for bucket in demand)
                for bucket in demand if is_taken else ():
                    levels[bucket] -= 1
                expected.append(is_taken)
            self.assertEqual([not wait for wait in self.take(demands)], expected)


class TableTests(InTable, BucketTests, DatabaseTestCase):
    def test_what_is_given_back_can_be_taken_again(self) -> None:
        bucket = sender("returned")
        self.take([(bucket,)] * 3)
        with transaction.atomic():
            give_back_to_table(Counter({bucket: 2}))
        self.assertEqual([wait > 0 for wait in self.take([(bucket,)] * 3)], [False, False, True])


class ConcurrentTableTests(InTable, TransactionTestCase):
    def test_many_at_once_never_take_more_than_the_burst(self) -> None:
        found: list[float] = []
        together(8, lambda: found.extend(self.take([(sender("one"), chat("one"))] * 2)))
        self.assertEqual(found.count(0), 3)

    def test_batches_in_any_order_do_not_wait_for_each_other_in_a_circle(self) -> None:
        rates = {kind: Rate(60, 1000) for kind in BucketKind}
        demands: list[Demand] = [(sender(f"{number}"), chat(f"{number}")) for number in range(20)]

        def take() -> None:
            for order in (demands, demands[::-1], demands[7:] + demands[:7]):
                self.take(order, rates)

        together(4, take)
        self.assertEqual(RateBucket.objects.filter(tokens__gt=985, tokens__lt=992).count(), 40)


class RedisTests(InRedis, BucketTests, TestCase):
    def test_what_is_given_back_can_be_taken_again(self) -> None:
        bucket = sender("returned")
        self.take([(bucket,)] * 3)
        self.store.give_back(Counter({bucket: 2}))
        self.assertEqual([wait > 0 for wait in self.take([(bucket,)] * 3)], [False, False, True])

    def test_two_processes_share_a_bucket(self) -> None:
        other = RedisBuckets(self.server.url, prefix="test:")
        self.addCleanup(other.close)
        demand = (sender("shared"), chat("shared"))
        found: list[float] = []

        def asking(store: RedisBuckets) -> Callable[[], object]:
            return lambda: [found.extend(store.take([demand], RATES)) for _ in range(10)]

        at_once(*[asking(store) for store in (self.store, other)] * 3)
        self.assertEqual((found.count(0), len(found)), (3, 60))

    def test_a_bucket_that_is_full_again_expires(self) -> None:
        bucket = sender("expires")
        self.take([(bucket,)] * 2)
        left = self.store._redis.pttl(f"test:limit:{bucket.key}")
        self.assertTrue(110_000 < left <= 120_000, left)
        self.take([(bucket,)], {BucketKind.SENDER: Rate(6000, 3)})
        while self.store._redis.exists(f"test:limit:{bucket.key}"):
            time.sleep(0.01)

    def test_a_server_that_forgot_the_script_is_told_it_again(self) -> None:
        self.take([(sender("flushed"),)])
        self.store._redis.script_flush()
        self.assertEqual(self.take([(sender("flushed"),)]), [0])

    def test_installations_that_share_a_server_share_no_bucket(self) -> None:
        other = RedisBuckets(self.server.url, prefix="other:")
        self.addCleanup(other.close)
        self.take([(sender("mine"),)] * 3)
        self.assertEqual(other.take([(sender("mine"),)], RATES), [0])


class AwayTests(TestCase):
    demand = (sender("ann"),)

    def test_a_server_that_was_killed_is_left_alone_for_a_while_and_found_again(self) -> None:
        with ValkeyServer() as server, mock.patch.object(buckets, "PAUSE_SECONDS", 60):
            store = RedisBuckets(server.url, prefix="test:")
            self.addCleanup(store.close)
            store.take([self.demand], RATES)
            server.kill()
            with self.assertLogs("gateway_app.access.buckets", "WARNING") as logs:
                self.assertRaises(RedisAway, store.take, [self.demand], RATES)
                server.start()
                with self.assertRaisesRegex(RedisAway, "a moment ago"):
                    store.take([self.demand], RATES)
                store.give_back(Counter(self.demand))
            self.assertEqual(len(logs.output), 1)
            store._ask_at = 0  # the pause is over
            self.assertEqual(store.take([self.demand], RATES), [0])
            self.assertEqual(store.take([self.demand], RATES), [0])

    def test_of_many_threads_one_asks_whether_it_is_back(self) -> None:
        store = RedisBuckets("redis://127.0.0.1:1/0", prefix="test:")
        reasons: list[str] = []

        def take() -> None:
            try:
                store.take([self.demand], RATES)
            except RedisAway as error:
                reasons.append(str(error))

        with self.assertLogs("gateway_app.access.buckets", "WARNING"):
            take()
        store._ask_at = 0
        together(8, take)
        self.assertEqual(Counter(reasons), {"ConnectionError": 2, "it failed a moment ago": 7})

    def test_a_server_that_takes_connections_and_says_nothing_is_not_waited_for(self) -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            store = RedisBuckets(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", prefix="test:")
            with self.assertLogs("gateway_app.access.buckets", "WARNING"), self.assertRaises(RedisAway):
                store.take([self.demand], RATES)
