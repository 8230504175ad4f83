"""What was recalled, as a row: one fetch at a time, and never an older one after a newer."""

from __future__ import annotations

import functools
from datetime import timedelta

from django.db.models.functions import Now
from django.test import TestCase, TransactionTestCase

from honcho_app import recall_cache
from honcho_app.models import Recall
from honcho_app.recall_cache import NOTHING, Attempt, Kept, Place
from tests.test_lanes import at_once

ANN = Place("agent:main:telegram:dm:1", "ann", "first", 1)
LONG_AGO = timedelta(hours=1)


def begin(place: Place = ANN, *, cadence: int = 0, has_ended: bool = False) -> Attempt:
    attempt = recall_cache.begin(place, seconds=10, cadence=cadence, has_ended=has_ended)
    assert attempt
    return attempt


def read(place: Place = ANN) -> Kept:
    return recall_cache.read(place, fresh_seconds=600)


class KeepingTests(TestCase):
    def test_what_was_fetched_is_there_for_the_next_message(self) -> None:
        self.assertEqual(read(), NOTHING)
        attempt = begin()
        self.assertEqual(read(), Kept("", is_under_way=True))
        self.assertTrue(recall_cache.keep(attempt, "likes roses"))
        self.assertEqual(read(ANN._replace(turn_id=2)), Kept("likes roses", is_fetched=True, is_fresh=True))

    def test_that_there_is_nothing_to_remember_is_known_too(self) -> None:
        recall_cache.keep(begin(), "")
        self.assertEqual(read(), Kept("", is_fetched=True, is_fresh=True))

    def test_it_is_of_one_person_in_one_session(self) -> None:
        recall_cache.keep(begin(), "likes roses")
        for other in (ANN._replace(peer="bob"), ANN._replace(honcho_session_key="agent:main:telegram:dm:2")):
            with self.subTest(other):
                self.assertEqual(read(other), NOTHING)

    def test_after_a_reset_it_is_nothing_and_the_first_fetch_lets_go_of_it(self) -> None:
        recall_cache.keep(begin(), "likes roses")
        after = ANN._replace(session_id="second", turn_id=3)
        self.assertEqual(read(after), NOTHING)
        attempt = begin(after)
        self.assertEqual(Recall.objects.get().text, "")
        recall_cache.keep(attempt, "likes tulips")
        self.assertEqual(read(after).text, "likes tulips")
        self.assertEqual(read(), NOTHING)

    def test_it_grows_old(self) -> None:
        recall_cache.keep(begin(), "likes roses")
        Recall.objects.update(fetched_at=Now() - LONG_AGO)
        self.assertEqual(read(), Kept("likes roses", is_fetched=True))
        recall_cache.keep(begin(), "likes tulips")
        self.assertTrue(read().is_fresh)


class AttemptTests(TestCase):
    def test_one_fetch_at_a_time(self) -> None:
        attempt = begin()
        self.assertIsNone(recall_cache.begin(ANN, seconds=10))
        recall_cache.give_up(attempt)
        self.assertEqual(read(), NOTHING._replace())
        begin()

    def test_one_that_died_is_followed_when_its_lease_is_over_and_then_writes_nothing(self) -> None:
        dead = begin()
        Recall.objects.update(lease_until=Now() - timedelta(seconds=1))
        self.assertFalse(read().is_under_way)
        newer = begin()
        self.assertFalse(recall_cache.keep(dead, "old"))
        recall_cache.give_up(dead)
        self.assertTrue(read().is_under_way)
        self.assertTrue(recall_cache.keep(newer, "new"))
        self.assertFalse(recall_cache.keep(dead, "old"))
        self.assertEqual(read().text, "new")

    def test_a_new_session_does_not_wait_for_the_fetch_of_the_one_before(self) -> None:
        before = begin(ANN._replace(turn_id=2))
        after = begin(ANN._replace(session_id="second", turn_id=4))
        self.assertFalse(recall_cache.keep(before, "of the session before"))
        self.assertTrue(recall_cache.keep(after, "of this one"))

    def test_a_late_one_for_an_older_turn_does_not_take_the_place_of_a_newer(self) -> None:
        recall_cache.keep(begin(ANN._replace(session_id="second", turn_id=4)), "of this one")
        self.assertIsNone(recall_cache.begin(ANN._replace(turn_id=2), seconds=10, has_ended=True))
        self.assertEqual(Recall.objects.get().session_id, "second")

    def test_a_session_that_is_gone_on_with_fetches_anew(self) -> None:
        recall_cache.keep(begin(ANN._replace(session_id="second", turn_id=4)), "of the second")
        recall_cache.keep(begin(ANN._replace(turn_id=6)), "of the first again")
        self.assertEqual(read().text, "of the first again")

    def test_after_each_turn_or_after_some(self) -> None:
        for cadence, wanted in ((1, [1, 1, 1, 1]), (3, [0, 0, 1, 0])):
            Recall.objects.all().delete()
            recall_cache.keep(begin(), "")
            found = []
            for turn in range(2, 6):
                place = ANN._replace(turn_id=turn)
                attempt = recall_cache.begin(place, seconds=10, cadence=cadence, has_ended=True)
                found.append(int(attempt is not None))
                if attempt:
                    recall_cache.keep(attempt, "")
            with self.subTest(cadence=cadence):
                self.assertEqual(found, wanted)

    def test_a_fetch_that_a_message_waits_for_is_due_whatever_the_cadence(self) -> None:
        recall_cache.keep(begin(), "")
        self.assertIsNone(recall_cache.begin(ANN, seconds=10, cadence=9, has_ended=True))
        begin()


class ForgettingTests(TestCase):
    def test_what_is_forgotten_is_gone_and_what_is_under_way_comes_to_nothing(self) -> None:
        recall_cache.keep(begin(), "likes roses")
        under_way = begin()
        other = begin(ANN._replace(honcho_session_key="other"))
        self.assertEqual(recall_cache.forget(ANN.honcho_session_key), 1)
        begin()
        self.assertFalse(recall_cache.keep(under_way, "likes roses"))
        self.assertTrue(recall_cache.keep(other, "another's"))

    def test_a_person_is_forgotten_in_all_sessions_and_nobody_else_is(self) -> None:
        for place in (ANN, ANN._replace(honcho_session_key="group"), ANN._replace(peer="bob")):
            recall_cache.keep(begin(place), "likes roses")
        self.assertEqual(recall_cache.forget_person("ann"), 2)
        self.assertEqual(Recall.objects.get().peer, "bob")

    def test_what_nobody_used_for_long_is_let_go(self) -> None:
        old, failed, recent, under_way = (ANN._replace(honcho_session_key=name) for name in "abcd")
        for place in (old, recent):
            recall_cache.keep(begin(place), "likes roses")
        recall_cache.give_up(begin(failed))
        begin(under_way)
        Recall.objects.filter(honcho_session_key="a").update(fetched_at=Now() - timedelta(days=31))
        self.assertEqual(recall_cache.forget_unused(days=30), 2)
        self.assertEqual({row.honcho_session_key for row in Recall.objects.all()}, {"c", "d"})


class CrowdTests(TransactionTestCase):
    def test_of_many_workers_at_once_one_fetches(self) -> None:
        found: list[Attempt | None] = []

        def work(turn: int) -> None:
            found.append(recall_cache.begin(ANN._replace(turn_id=turn), seconds=10))

        at_once(*(functools.partial(work, 1) for _ in range(16)))
        self.assertEqual(len([attempt for attempt in found if attempt]), 1)

    def test_whatever_order_they_write_in_the_newest_stays(self) -> None:
        # Each session's fetch takes the place of the one before; all write at one moment.
        attempts = [begin(ANN._replace(session_id=f"session {turn}", turn_id=turn)) for turn in range(8)]
        at_once(*(functools.partial(recall_cache.keep, attempt, f"text {n}") for n, attempt in enumerate(attempts)))
        self.assertEqual(Recall.objects.get().text, "text 7")
