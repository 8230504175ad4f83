"""The whole road of a pairing, over Telegram's peer: a stranger writes, is let in, and is answered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from unittest import mock

from django.conf import settings
from django.db import OperationalError

from gateway_app import doorbell, tasks
from gateway_app.access import pairing, rules, strangers
from gateway_app.access.audit import Actor
from gateway_app.delivery.sender import deliver_lane
from gateway_app.models import AuditEntry, InboundMessage, OutboundPart, PairingRequest
from gateway_app.models.audit import Door
from gateway_app.sessions.source import SessionContext
from gateway_app.turns.runner import run_sessions
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline
from tests.configuration import configured
from tests.listeners import ListenerThread, telegram_peer, wait
from tests.pipeline_case import PipelineTestCase

ANN = Actor("ann", Door.ADMIN)
CODE = re.compile(r"^[A-Z2-9]{8}$", re.MULTILINE)


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


class RoadTestCase(PipelineTestCase):
    """Nobody may write on Telegram. What is rung for is written down, and done by `work()`."""

    def setUp(self) -> None:
        super().setUp()
        self.peer = telegram_peer(self)
        self.enterContext(configured(access={"platforms": {"telegram": {"allow_all_users": False}}}))
        self.sessions: list[SessionContext] = []
        self.chats: list[str] = []
        self.enterContext(mock.patch.object(doorbell, "ring", self.sessions.extend))
        self.enterContext(mock.patch.object(doorbell, "ring_delivery", self.ring_chats))
        strangers.memory.forget()
        self.addCleanup(strangers.memory.forget)

    def ring_chats(self, keys: Iterable[str]) -> None:
        self.chats.extend(keys)

    def work(self) -> None:
        """Does what a worker does after the rings so far."""

        async def ring() -> None:
            try:
                await run_sessions(self.sessions, http=http_session())
                for key in self.chats:
                    await deliver_lane(key=key, http=http_session())
            finally:
                await close_http_session()

        pipeline.run(ring())
        self.sessions.clear()
        self.chats.clear()

    def listen(self, *, until: int) -> None:
        """Runs the listener until so many updates are acknowledged, and their rings published."""
        with ListenerThread():
            self.peer.wait(lambda peer: peer.stats["confirmed"] >= until)

    def code(self, chat_id: int) -> str:
        found = CODE.search(self.peer.texts(chat_id)[-1])
        assert found, self.peer.texts(chat_id)
        return found[0]


class RoadTests(RoadTestCase):
    def test_a_stranger_gets_a_code_is_let_in_and_is_answered(self) -> None:
        self.peer.push_text("hello", chat_id=77, user_id=77)
        self.listen(until=1)
        self.assertEqual(len(self.chats), 1)
        self.work()
        code = self.code(77)
        self.assertEqual(OutboundPart.objects.get().text, "")

        pairing.approve(by=ANN, platform="telegram", code=code.lower())
        self.work()
        self.assertIn("let in", self.peer.texts(77)[-1])

        self.peer.push_text("hello again", chat_id=77, user_id=77)
        self.listen(until=2)
        self.work()
        self.assertEqual(self.peer.texts(77)[-1], "echo: hello again")
        self.assertEqual(actions(), ["pairing_requested", "pairing_approved"])

    def test_strangers_in_a_group_get_nothing(self) -> None:
        self.peer.push_text("/hello", chat_id=-5, user_id=77, chat_type="group")
        self.listen(until=1)
        self.assertEqual((self.chats, PairingRequest.objects.count()), ([], 0))

    def test_a_stranger_does_not_delay_or_lose_who_wrote_with_them(self) -> None:
        rules.allow(platform="telegram", subject_id="1", by=ANN)
        for user in (77, 1, 77):
            self.peer.push_text(f"from {user}", chat_id=user, user_id=user)
        self.listen(until=3)
        self.work()
        self.assertEqual(self.peer.texts(1), ["echo: from 1"])
        self.assertEqual(len(self.peer.texts(77)), 1)

    def test_an_update_whose_code_was_not_committed_is_not_acknowledged_and_comes_again(self) -> None:
        # A killed process leaves the same: the main transaction, then the code, then the acknowledgement.
        rules.allow(platform="telegram", subject_id="1", by=ANN)
        request, failures = pairing.request, [OperationalError("the disk is full")] * 2

        def fail_first(**values: Any) -> pairing.Asked:
            if failures:
                raise failures.pop()
            return request(**values)

        for user in (1, 77):
            self.peer.push_text("hello", chat_id=user, user_id=user)
        with mock.patch.object(pairing, "request", fail_first), ListenerThread():
            wait(lambda: len(failures) < 2)
            self.assertEqual(self.peer.stats["confirmed"], 0)
            self.peer.wait(lambda peer: peer.stats["confirmed"] == 2)
        self.assertEqual((InboundMessage.objects.count(), PairingRequest.objects.count()), (1, 1))

    def test_a_code_that_was_committed_is_not_given_twice_where_the_update_comes_again(self) -> None:
        number = self.peer.push_text("hello", chat_id=77, user_id=77)
        self.listen(until=1)
        strangers.memory.forget()  # another process takes over
        self.peer.repeat(number)
        self.peer.push_text("/start", chat_id=77, user_id=77)
        self.listen(until=2)
        self.assertEqual((PairingRequest.objects.count(), OutboundPart.objects.count()), (1, 1))

    def test_the_code_is_in_the_message_to_the_stranger_and_nowhere_else(self) -> None:
        with self.assertLogs("gateway_app", "DEBUG") as logs:
            self.peer.push_text("hello", chat_id=77, user_id=77)
            self.listen(until=1)
            self.work()
        code = self.code(77)
        self.assertNotIn(code, "".join(logs.output))
        self.assertIn(f"gateway pairing approve telegram {code}", self.peer.texts(77)[0])
        self.assertNotIn(settings.TELEGRAM_BOT_TOKEN, "".join(logs.output))


class ScheduledTests(RoadTestCase):
    def test_beats_task_ends_codes_and_rules_once_however_often_it_runs(self) -> None:
        self.peer.push_text("hello", chat_id=77, user_id=77)
        self.listen(until=1)
        with mock.patch.object(pairing, "CODE_SECONDS", 0), mock.patch.object(pairing, "REQUEST_SECONDS", 0):
            for _ in range(2):
                pipeline.run(tasks.tend_access.run())
        self.assertEqual(PairingRequest.objects.get().state, "expired")
        self.assertEqual(actions(), ["pairing_requested", "pairing_expired"])
