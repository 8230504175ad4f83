"""Two listener processes with one credential: whichever dies, hangs or stops, the other goes on, and never both."""

from __future__ import annotations

import signal

from django.test import TransactionTestCase

from gateway_app.models import InboundMessage, Listener
from tests.listeners import ListenerProcess, telegram_peer, wait

LEASE_SECONDS = "2"


class TwoListeners(TransactionTestCase):
    def setUp(self) -> None:
        self.peer = telegram_peer(self)
        self.both = [ListenerProcess(self, self.peer, HERMES_LISTENER_LEASE_SECONDS=LEASE_SECONDS) for _ in range(2)]
        wait(lambda: all(self.is_ready(one) for one in self.both), what="one to poll and one to stand by")

    def is_ready(self, one: ListenerProcess) -> bool:
        return "another listener has it; standing by" in one.log() or "Polling Telegram as" in one.log()

    def roles(self) -> tuple[ListenerProcess, ListenerProcess]:
        """The holder and the other one."""
        first, second = self.both
        wait(lambda: first.is_holder() or second.is_holder(), what="a holder")
        return (first, second) if first.is_holder() else (second, first)

    def say(self, text: str) -> None:
        """Somebody writes, and the message is accepted by whoever listens."""
        count = self.peer.stats["confirmed"]
        self.peer.push_text(text)
        self.peer.wait(lambda peer: peer.stats["confirmed"] > count, what=f"the acknowledgement of {text!r}")

    def test_whichever_sleeps_dies_or_stops_the_other_goes_on_and_never_both(self) -> None:
        self.say("one")
        sleeper, other = self.roles()
        polls = self.peer.stats["polls"]

        sleeper.process.send_signal(signal.SIGSTOP)
        self.peer.wait(lambda peer: peer.stats["polls"] > polls, what="the standby to poll")
        # Telegram ended the old poll when the new one came; this one conflict is the sleeper's.
        self.assertEqual(self.peer.stats["conflicts"], 1)
        self.say("two")
        self.assertTrue(other.is_holder())

        sleeper.process.send_signal(signal.SIGCONT)
        wait(lambda: "its lease ended or another listener has it" in sleeper.log(), what="the sleeper to stand down")
        wait(lambda: "standing by" in sleeper.log(), what="the sleeper to stand by")
        self.say("three")
        self.assertTrue(other.is_holder())

        other.process.send_signal(signal.SIGKILL)
        other.process.wait()
        self.say("four")
        self.assertTrue(sleeper.is_holder())
        self.assertEqual(Listener.objects.get().fence, 3)

        sleeper.process.send_signal(signal.SIGTERM)
        self.assertEqual(sleeper.process.wait(timeout=20), 0)
        self.assertIn("Stopped listening.", sleeper.log())
        self.assertIsNone(Listener.objects.get().lease_until)

        texts = list(InboundMessage.objects.order_by("id").values_list("text", flat=True))
        self.assertEqual(texts, ["one", "two", "three", "four"])
        self.assertEqual(self.peer.stats["confirmed_unseen"], 0)
        self.assertEqual(self.peer.stats["conflicts"], 1)
