"""Lanes: claims, fences, releases and what they promise when many work at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from gateway_app import lanes
from gateway_app.lanes import Claim, LaneLost
from gateway_app.models import Lane
from gateway_app.models.lane import LaneKind
from gateway_app.statements import Sql, execute


def put(*keys: str) -> dict[str, lanes.Place]:
    with transaction.atomic():
        return lanes.put(kind=LaneKind.TURNS, counts=dict.fromkeys(keys, 1))


def claim(key: str = "a") -> Claim | None:
    return lanes.claim(kind=LaneKind.TURNS, key=key)


def expire(key: str = "a") -> None:
    Lane.objects.filter(key=key).update(lease_until=timezone.now() - timezone.timedelta(seconds=1))


class LaneTests(TestCase):
    def test_places_are_numbered_in_the_order_of_their_puts(self) -> None:
        tails = [put("a")["a"].tail for _ in range(3)]
        self.assertEqual(tails, [1, 2, 3])

    def test_a_lane_that_does_not_exist_cannot_be_claimed(self) -> None:
        self.assertIsNone(claim())

    def test_a_claimed_lane_cannot_be_claimed_again(self) -> None:
        put("a")
        self.assertIsNotNone(claim())
        self.assertIsNone(claim())

    def test_a_put_says_whether_a_worker_holds_the_lane(self) -> None:
        self.assertFalse(put("a")["a"].is_held)
        claim()
        self.assertTrue(put("a")["a"].is_held)

    def test_each_claim_raises_the_fence(self) -> None:
        put("a")
        first = claim()
        expire()
        second = claim()
        assert first and second
        self.assertEqual(second.fence, first.fence + 1)

    def test_a_holder_that_was_overtaken_cannot_commit(self) -> None:
        # Seen to fail with `AND fence = %s` taken out of lanes.hold().
        put("a")
        first = claim()
        expire()
        claim()
        assert first
        with self.assertRaises(LaneLost):
            lanes.hold(first)

    def test_a_holder_past_its_lease_may_go_on_while_nobody_else_claimed(self) -> None:
        put("a")
        held = claim()
        expire()
        assert held
        lanes.hold(held)
        self.assertIsNone(claim())

    def test_a_release_after_a_put_that_the_holder_did_not_see_is_refused(self) -> None:
        # Seen to fail with `AND tail = %s` taken out of lanes.release().
        put("a")
        held = claim()
        put("a")
        assert held
        self.assertFalse(lanes.release(held))
        lanes.hold(held)
        self.assertTrue(lanes.release(held))

    def test_a_holder_that_finds_nothing_open_gives_the_lane_back_unless_something_was_put_in(self) -> None:
        # Seen to fail with `AND tail = %s` taken out of lanes.holding_or_releasing().
        put("a")
        held = claim()
        put("a")
        assert held
        nothing, something = Sql("SELECT 1 WHERE 1 = 0"), Sql("SELECT 1")

        def given_back(open_items: Sql) -> bool:
            return lanes.held_or_released(held, execute(lanes.holding_or_releasing(held, open_items=open_items))[0])

        self.assertEqual([given_back(items) for items in (nothing, something, nothing)], [False, False, True])
        self.assertIsNotNone(claim())

    def test_a_release_frees_the_lane_and_ends_its_ringing(self) -> None:
        put("a")
        held = claim()
        assert held
        lanes.release(held)
        self.assertEqual(lanes.due(limit=10), [])
        self.assertIsNotNone(claim())

    def test_a_heartbeat_that_comes_late_leaves_a_lane_that_was_given_back(self) -> None:
        # Seen to fail with HELD taken out of lanes.renew(): new messages then waited for the end of a lease of nobody.
        put("a")
        held = claim()
        assert held
        lanes.release(held)
        self.assertEqual(lanes.renew([held]), {held.lane_id})
        self.assertFalse(put("a")["a"].is_held)

    def test_a_lane_that_was_given_back_cannot_be_held_any_more(self) -> None:
        # Seen to fail with HELD taken out of lanes.holding() and lanes.holding_or_releasing().
        put("a")
        held = claim()
        assert held
        lanes.release(held)
        with self.assertRaises(LaneLost):
            lanes.hold(held)
        with self.assertRaises(LaneLost):
            nothing = Sql("SELECT 1 WHERE 1 = 0")
            lanes.held_or_released(held, execute(lanes.holding_or_releasing(held, open_items=nothing))[0])
        self.assertIsNotNone(claim())

    def test_a_lane_with_something_waiting_is_due_until_it_is_claimed(self) -> None:
        put("a", "b")
        claim("a")
        self.assertEqual(lanes.due(limit=10), [("turns", "b")])
        expire("a")
        self.assertEqual({key for _, key in lanes.due(limit=10)}, {"a", "b"})

    def test_a_lane_released_until_later_is_not_due_yet(self) -> None:
        put("a")
        held = claim()
        assert held
        lanes.release_later(held, wait=60)
        self.assertEqual(lanes.due(limit=10), [])
        self.assertIsNotNone(claim())

    def test_put_and_claim_takes_a_free_lane_and_leaves_a_held_one(self) -> None:
        with transaction.atomic():
            bids = [lanes.bid(kind=LaneKind.DELIVERY, key="x") for _ in range(2)]
            found = execute(*[lanes.putting_and_claiming(bid, count=2) for bid in bids])
        mine, theirs = (lanes.claimed_by_put(bid, rows) for bid, rows in zip(bids, found, strict=True))
        assert mine
        self.assertEqual((mine.tail, mine.fence, theirs), (2, 1, None))
        self.assertEqual(Lane.objects.get().tail, 4)

    def test_a_renewal_names_only_the_lanes_still_held(self) -> None:
        put("a", "b")
        first, second = claim("a"), claim("b")
        expire("a")
        claim("a")
        assert first and second
        self.assertEqual(lanes.renew([first, second]), {second.lane_id})

    def test_a_forked_process_claims_under_a_name_of_its_own(self) -> None:
        # Seen to fail with os.register_at_fork() taken out of lanes.py.
        reading, writing = os.pipe()
        child = os.fork()  # `multiprocessing` does not fork from the processes that run tests in parallel
        if child == 0:
            os.write(writing, lanes.bid(kind=LaneKind.TURNS, key="a").owner.encode())
            os._exit(0)
        os.waitpid(child, 0)
        theirs = os.read(reading, 1000).decode()
        os.close(reading)
        os.close(writing)
        ours = lanes.bid(kind=LaneKind.TURNS, key="a").owner
        self.assertNotEqual(theirs.rpartition(":")[0], ours.rpartition(":")[0])

    @override_settings(LANE_LEASE_SECONDS=0.0)
    def test_a_claim_is_not_trusted_past_its_lease(self) -> None:
        put("a")
        held = claim()
        assert held
        self.assertFalse(held.is_trusted())


class ConcurrentLaneTests(TransactionTestCase):
    """With threads, each on its own connection."""

    def test_many_claims_at_once_give_the_lane_to_one(self) -> None:
        put("a")
        found: list[Claim | None] = []
        together(8, lambda: found.append(claim()))
        self.assertEqual(len([claim for claim in found if claim]), 1)

    def test_puts_at_once_get_each_place_once(self) -> None:
        tails: list[int] = []
        together(8, lambda: tails.extend(place.tail for place in put("a", "b").values()))
        self.assertEqual(sorted(tails), sorted([*range(1, 9), *range(1, 9)]))

    def test_no_put_is_lost_between_a_holders_look_and_its_release(self) -> None:
        """Whatever the timing, after the release the lane is due, or the holder was told to look again."""
        for _ in range(20):
            put("a")
            held = claim()
            assert held
            released: list[bool] = []

            def release(held: Claim = held, released: list[bool] = released) -> None:
                released.append(lanes.release(held))

            at_once(lambda: put("a"), release)
            self.assertTrue(lanes.due(limit=10) if released[0] else claim() is None)
            Lane.objects.all().delete()


def together(count: int, work: Callable[[], object]) -> None:
    """Runs `work` in `count` threads that start at one moment; raises what any of them raised."""
    at_once(*[work] * count)


def at_once(*works: Callable[[], object]) -> None:
    """Runs each of `works` in a thread of its own, all from one moment on; raises what any of them raised."""
    start = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            start.wait(10)
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    if errors:
        raise errors[0]
