"""The listener in this process: leases, adapters that fail, and a stop that leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

from django.db import OperationalError
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.utils import timezone

from gateway_app.management.commands import listen
from gateway_app.models import InboundMessage, Listener
from gateway_app.platforms import listening, receiving
from gateway_app.platforms.base import OutgoingPart, Platform
from gateway_app.platforms.lease import ListenerLease
from tests.listeners import ACCOUNT, ListenerThread, telegram_peer, wait


class Leases(TransactionTestCase):
    def setUp(self) -> None:
        self.peer = telegram_peer(self)

    def test_a_clean_stop_gives_the_lease_back(self) -> None:
        with ListenerThread():
            self.peer.wait(lambda peer: peer.stats["polling"])
            self.assertFalse(ListenerLease(platform="telegram", account=ACCOUNT).claim())
        self.peer.wait(lambda peer: not peer.stats["polling"])
        self.assertTrue(ListenerLease(platform="telegram", account=ACCOUNT).claim())

    @override_settings(LISTENER_LEASE_SECONDS=1.5)
    def test_a_listener_that_was_overtaken_stops_polling_and_accepts_nothing(self) -> None:
        with ListenerThread():
            self.peer.wait(lambda peer: peer.stats["polling"])
            Listener.objects.update(lease_until=timezone.now() - timezone.timedelta(seconds=1))
            other = ListenerLease(platform="telegram", account=ACCOUNT)
            self.assertTrue(other.claim())
            self.peer.push_text("hello")
            self.peer.wait(lambda peer: not peer.stats["polling"])
            self.assertFalse(InboundMessage.objects.exists())
            self.assertEqual(self.peer.stats["confirmed"], 0)
            other.release()
            self.peer.wait(lambda peer: peer.stats["confirmed"])
        self.assertEqual(InboundMessage.objects.get().text, "hello")

    def test_a_standby_does_not_poll(self) -> None:
        other = ListenerLease(platform="telegram", account=ACCOUNT)
        self.assertTrue(other.claim())
        with self.assertLogs("gateway_app.platforms.listening", "INFO") as logs, ListenerThread():
            wait(lambda: "another listener has it; standing by" in "".join(logs.output))
            self.assertEqual(self.peer.stats["polls"], 0)
            other.release()
            self.peer.wait(lambda peer: peer.stats["polling"])

    def test_a_database_that_is_away_at_the_start_is_waited_for(self) -> None:
        claim, failures = ListenerLease.claim, [OperationalError("away")] * 2

        def claim_later(lease: ListenerLease) -> bool:
            if failures:
                raise failures.pop()
            return claim(lease)

        with (
            mock.patch.object(ListenerLease, "claim", claim_later),
            self.assertLogs("gateway_app.platforms.listening", "WARNING") as logs,
            ListenerThread(),
        ):
            self.peer.wait(lambda peer: peer.stats["polling"])
        self.assertEqual("".join(logs.output).count("the database does not answer (OperationalError)"), 1)


class FakePlatform(Platform):
    """Listens by calling `run`."""

    def __init__(self, name: str, run: Callable[[ListenerLease], Any], *, accounts: tuple[str, ...] = ("1",)) -> None:
        self.name = name  # type: ignore[misc]
        self.run = run
        self.accounts = lambda: list(accounts)  # type: ignore[method-assign]

    def split(self, text: str) -> list[str]:
        return [text]

    async def send(self, part: OutgoingPart, *, http: Any) -> str:
        return ""

    async def listen(self, *, lease: ListenerLease, http: Any) -> None:
        await self.run(lease)


@override_settings(LISTENER_BACKOFF_SECONDS=0.01)
class Adapters(TransactionTestCase):
    def listening_to(self, *platforms: Platform) -> Any:
        return mock.patch.object(listening, "platforms", lambda: list(platforms))

    def test_one_that_crashes_is_started_again_and_the_others_go_on(self) -> None:
        crashes: list[str] = []
        lives: list[str] = []

        async def crash(lease: ListenerLease) -> None:
            crashes.append(str(lease))
            raise RuntimeError("no such luck")

        async def live(lease: ListenerLease) -> None:
            lives.append(str(lease))
            await listening.asyncio.Event().wait()

        both = self.listening_to(FakePlatform("crashing", crash), FakePlatform("living", live))
        with both, self.assertLogs("gateway_app.platforms.listening", "ERROR") as logs, ListenerThread():
            wait(lambda: len(crashes) >= 3)
        self.assertEqual(lives, ["living 1"])
        self.assertIn("The listener of crashing 1 failed; it starts again in", logs.output[0])
        self.assertIn("RuntimeError", Listener.objects.get(platform="crashing").error)

    def test_one_that_returns_is_started_again(self) -> None:
        runs: list[str] = []

        async def end(lease: ListenerLease) -> None:
            runs.append(str(lease))

        with self.listening_to(FakePlatform("ending", end)), self.assertLogs(level="ERROR"), ListenerThread():
            wait(lambda: len(runs) >= 2)

    def test_each_account_has_a_lease_of_its_own(self) -> None:
        async def live(lease: ListenerLease) -> None:
            await listening.asyncio.Event().wait()

        with self.listening_to(FakePlatform("many", live, accounts=("1", "2"))), ListenerThread():
            wait(lambda: Listener.objects.exclude(lease_owner="").count() == 2)


class WithoutPlatforms(TransactionTestCase):
    @override_settings(TELEGRAM_BOT_TOKEN="")
    def test_it_says_so_once_and_stays_up(self) -> None:
        with self.assertLogs("gateway_app.platforms.listening", "INFO") as logs, ListenerThread() as listener:
            wait(lambda: len(logs.output) >= 2)
            self.assertTrue(listener._thread.is_alive())
        self.assertEqual(
            [line.partition(":")[2].partition(":")[2] for line in logs.output],
            [
                "Telegram is not set up; not listening to it.",
                "No platform to listen to is set up; waiting.",
                "Stopped listening.",
            ],
        )


class Command(SimpleTestCase):
    def test_a_database_that_hangs_does_not_keep_the_process_from_ending(self) -> None:
        release = threading.Event()
        self.addCleanup(release.set)

        async def serve() -> None:
            pass

        with (
            mock.patch.object(listening, "serve", serve),
            mock.patch.object(listen, "close_database_threads", release.wait),
            mock.patch.object(listen, "CLOSE_SECONDS", 0.05),
            mock.patch.object(listen.os, "_exit") as end,
        ):
            listen.Command().handle()
        end.assert_called_once_with(0)


class Backoff(SimpleTestCase):
    @override_settings(LISTENER_BACKOFF_SECONDS=1, LISTENER_BACKOFF_MAX_SECONDS=30)
    def test_the_wait_doubles_up_to_its_limit(self) -> None:
        for failures, longest in ((1, 1), (2, 2), (5, 16), (6, 30), (10_000, 30)):
            for _ in range(20):
                self.assertTrue(longest / 2 <= listening.backoff(failures) <= longest)

    def test_more_sessions_than_the_ringer_keeps_are_left_to_the_sweep(self) -> None:
        ringer = receiving.Ringer()
        contexts = [mock.Mock(session_key=str(number)) for number in range(5)]
        with mock.patch.object(receiving, "MOST_RINGS", 3), mock.patch.object(receiving.asyncio, "get_running_loop"):
            ringer._ring_all = mock.Mock()  # type: ignore[method-assign]
            ringer.ring(contexts)
        self.assertEqual(list(ringer._waiting), ["0", "1", "2"])
