"""The listeners' lease: one holder for each credential, fenced, and given up before it can have ended."""

from __future__ import annotations

import asyncio
import threading
from unittest import mock

from django.db import OperationalError, connection, transaction
from django.test import TransactionTestCase, override_settings
from django.utils import timezone

from gateway_app import inbox
from gateway_app.models import InboundMessage, Listener
from gateway_app.platforms.base import InboundEvent
from gateway_app.platforms.lease import LeaseLost, ListenerLease
from gateway_app.sessions.source import ChatType, SessionSource
from tests import pipeline
from tests.configuration import open_to_all


def lease(account: str = "1") -> ListenerLease:
    return ListenerLease(platform="telegram", account=account)


def held(account: str = "1") -> ListenerLease:
    found = lease(account)
    assert found.claim()
    return found


def expire() -> None:
    Listener.objects.update(lease_until=timezone.now() - timezone.timedelta(seconds=1))


def event() -> InboundEvent:
    source = SessionSource(platform="telegram", account="1", chat_id="5", chat_type=ChatType.DM, user_id="5")
    return InboundEvent(event_id="1000", source=source, text="hello")


class LeaseTests(TransactionTestCase):
    def test_one_listener_at_a_time_holds_a_credential(self) -> None:
        held()
        self.assertFalse(lease().claim())
        self.assertTrue(lease("2").claim())

    def test_a_lease_that_ended_can_be_claimed_and_raises_the_fence(self) -> None:
        held()
        expire()
        self.assertTrue(lease().claim())
        self.assertEqual(Listener.objects.get().fence, 2)

    def test_a_lease_given_back_can_be_claimed_at_once(self) -> None:
        first = held()
        first.release()
        self.assertTrue(lease().claim())
        with self.assertRaises(LeaseLost):
            first.check()

    def test_whoever_was_overtaken_cannot_renew_or_give_back(self) -> None:
        # Seen to fail with `AND fence = %s` taken out of renew() and release().
        first = held()
        expire()
        second = held()
        with self.assertRaises(LeaseLost):
            first.renew()
        first.release()
        second.renew()
        self.assertFalse(lease().claim())

    @open_to_all("telegram")
    def test_whoever_was_overtaken_accepts_nothing(self) -> None:
        # Seen to fail with `AND fence = %s` taken out of assert_held().
        first = held()
        expire()
        second = held()
        with self.assertRaises(LeaseLost):
            inbox.accept([event()], assert_held=first.assert_held)
        self.assertFalse(InboundMessage.objects.exists())
        inbox.accept([event()], assert_held=second.assert_held)
        self.assertTrue(InboundMessage.objects.exists())

    def test_nobody_takes_over_in_the_middle_of_a_holders_transaction(self) -> None:
        first = held()
        expire()
        order: list[str] = []
        is_locked = threading.Event()

        def take_over() -> None:
            is_locked.wait()
            self.assertTrue(lease().claim())
            order.append("taken over")
            connection.close()

        thread = threading.Thread(target=take_over)
        thread.start()
        with transaction.atomic():
            first.assert_held()
            is_locked.set()
            thread.join(0.3)
            order.append("committed")
        thread.join()
        self.assertEqual(order, ["committed", "taken over"])

    def test_of_many_that_claim_at_once_one_gets_it(self) -> None:
        results: list[bool] = []
        start = threading.Barrier(6)

        def claim() -> None:
            start.wait()
            results.append(lease().claim())
            connection.close()

        threads = [threading.Thread(target=claim) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(results), [False] * 5 + [True])

    @override_settings(LISTENER_LEASE_SECONDS=10)
    def test_a_holder_stops_by_its_own_clock_before_the_lease_ends(self) -> None:
        with mock.patch("gateway_app.platforms.lease.time.monotonic", return_value=100.0) as clock:
            found = held()
            clock.return_value = 108.9
            found.check()
            clock.return_value = 109.0
            with self.assertRaises(LeaseLost):
                found.check()

    @override_settings(LISTENER_LEASE_SECONDS=10)
    def test_the_clock_starts_before_the_database_was_asked(self) -> None:
        with mock.patch("gateway_app.platforms.lease.time.monotonic", side_effect=[100.0, 109.0]):
            found = held()
            with self.assertRaises(LeaseLost):
                found.check()


@override_settings(LISTENER_LEASE_SECONDS=1)
class KeepingTests(TransactionTestCase):
    def keep(self, found: ListenerLease, *, seconds: float) -> None:
        async def run() -> None:
            async with asyncio.timeout(seconds):
                await found.keep()

        pipeline.run(run())

    def test_a_lease_is_kept_for_longer_than_its_length(self) -> None:
        found = held()
        with self.assertRaises(TimeoutError):
            self.keep(found, seconds=1.5)
        found.check()
        self.assertFalse(lease().claim())

    def test_keeping_ends_when_another_listener_has_the_lease(self) -> None:
        found = held()
        expire()
        held()
        with self.assertRaises(LeaseLost):
            self.keep(found, seconds=10)

    def test_keeping_ends_when_the_database_stays_away_until_the_lease_may_have_ended(self) -> None:
        found = held()
        with mock.patch.object(found, "renew", side_effect=OperationalError("away")), self.assertRaises(LeaseLost):
            self.keep(found, seconds=10)

    def test_keeping_ends_when_the_database_hangs(self) -> None:
        found = held()
        release = threading.Event()

        async def run() -> None:
            try:
                await found.keep()
            finally:
                release.set()

        with mock.patch.object(found, "renew", side_effect=release.wait), self.assertRaises(LeaseLost):
            pipeline.run(run())

    @override_settings(LISTENER_LEASE_SECONDS=3)
    def test_a_database_that_comes_back_in_time_costs_nothing(self) -> None:
        found = held()
        renew, failures = found.renew, [OperationalError("away")]

        def renew_later() -> None:
            if failures:
                raise failures.pop()
            renew()

        with mock.patch.object(found, "renew", renew_later), self.assertRaises(TimeoutError):
            self.keep(found, seconds=2.4)
        found.check()

    def test_the_last_poll_and_the_last_error_are_recorded(self) -> None:
        found = held()
        found.polled()
        found.report("another program polls this bot")
        with self.assertRaises(TimeoutError):
            self.keep(found, seconds=1.2)
        row = Listener.objects.get()
        self.assertEqual(row.error, "another program polls this bot")
        self.assertIsNotNone(row.last_poll_at)
        found.polled()
        found.renew()
        self.assertEqual(Listener.objects.get().error, "")
