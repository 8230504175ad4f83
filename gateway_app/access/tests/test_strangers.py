"""The door for people nobody has let in: who is answered, and what a flood of them costs."""

from __future__ import annotations

import time
from typing import Any
from unittest import mock

from django.test import TestCase, override_settings

from gateway_app import inbox
from gateway_app.access import pairing, rules, strangers
from gateway_app.access.audit import Actor
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.models import InboundMessage, OutboundPart, PairingGuard, PairingRequest
from gateway_app.models.audit import Door
from gateway_app.platforms.base import InboundEvent
from gateway_app.platforms.telegram.adapter import Adapter
from gateway_app.sessions.source import ChatType
from tests.configuration import configured
from tests.factories import make_source

ANN = Actor("ann", Door.ADMIN)


def write(*users: str, **values: Any) -> inbox.Accepted:
    """Each of the users writes `hello` on Telegram; all of it arrives in one batch."""
    return inbox.accept(
        [
            InboundEvent(
                event_id=f"{number}", source=make_source(**{"user_id": user, "chat_id": user, **values}), text="hello",
                message_id=f"{number}",
            )
            for number, user in enumerate(users)
        ]
    )  # fmt: skip


def telegram(**values: Any) -> configured:
    return configured(access={"platforms": {"telegram": values}})


class DoorTestCase(TestCase):
    def setUp(self) -> None:
        strangers.memory.forget()
        self.addCleanup(strangers.memory.forget)
        gatekeeper.forget()  # what an earlier test has rolled back, and this one does not look for


class AnsweringTests(DoorTestCase):
    def test_an_unknown_person_is_denied_and_gets_a_code(self) -> None:
        accepted = write("7")
        row = PairingRequest.objects.get()
        self.assertEqual((row.user_id, row.message_chars, row.state), ("7", 5, "pending"))
        self.assertEqual((accepted.denied, accepted.rings), ({"0"}, []))
        self.assertEqual(accepted.chats, [OutboundPart.objects.get().lane.key])
        self.assertFalse(InboundMessage.objects.exists())

    def test_several_messages_of_one_person_in_a_batch_are_one_request(self) -> None:
        with mock.patch.object(pairing, "request", wraps=pairing.request) as request:
            accepted = write("7", "7", "7")
        self.assertEqual((request.call_count, len(accepted.chats), len(accepted.denied)), (1, 1, 3))

    def test_who_may_write_is_not_asked_to_pair(self) -> None:
        with telegram(allowed_users=("7",), unauthorized_dm_behavior="pair"):
            accepted = write("7", "8")
        self.assertEqual((InboundMessage.objects.count(), len(accepted.chats)), (1, 1))
        self.assertEqual(PairingRequest.objects.get().user_id, "8")

    def test_groups_stay_silent(self) -> None:
        for chat_type in (ChatType.GROUP, ChatType.CHANNEL, ChatType.THREAD):
            self.assertEqual(write("7", chat_id="-100", chat_type=chat_type).chats, [])

    def test_the_banned_bots_and_those_without_an_id_get_nothing(self) -> None:
        rules.deny(platform="telegram", subject_id="7", by=ANN)
        self.assertEqual(write("7").chats + write("8", is_bot=True).chats + write("").chats, [])
        with telegram(dm_policy="disabled", unauthorized_dm_behavior="pair"):
            self.assertEqual(write("9").chats, [])
        self.assertFalse(PairingRequest.objects.exists())

    def test_an_approved_person_is_heard_at_once(self) -> None:
        write("7")
        pairing.approve(by=ANN, request_id=PairingRequest.objects.get().pk)
        self.assertEqual(len(write("7").rings), 1)


class BehaviourTests(DoorTestCase):
    """Whether a stranger is answered; what is said most closely to the platform counts."""

    def assert_pairs(self, pairs: bool, *, gateway: dict[str, Any] | None = None, **values: Any) -> None:
        origins = values.pop("origins", {})
        access = {**(gateway or {}), "platforms": {"telegram": values}}
        with self.subTest(gateway=gateway, origins=origins, **values), configured(access=access, origins=origins):
            self.assertIs(strangers.pairs("telegram"), pairs)

    def test_where_nothing_is_said_strangers_pair(self) -> None:
        self.assert_pairs(True)

    def test_only_platforms_that_can_pair_do(self) -> None:
        self.assertEqual([strangers.pairs(name) for name in ("webchat", "cli", "myspace")], [False] * 3)
        with mock.patch.object(Adapter, "can_pair", False):
            self.assertFalse(strangers.pairs("telegram"))

    def test_the_platforms_own_word_is_the_strongest(self) -> None:
        self.assert_pairs(False, unauthorized_dm_behavior="ignore", dm_policy="pairing")
        self.assert_pairs(
            True, unauthorized_dm_behavior="pair", dm_policy="allowlist", allowed_users=("1",),
            gateway={"unauthorized_dm_behavior": "ignore"},
        )  # fmt: skip

    def test_the_gateways_word_beats_the_platforms_policy(self) -> None:
        given = {"TELEGRAM_DM_POLICY": "environment TELEGRAM_DM_POLICY"}
        self.assert_pairs(False, gateway={"unauthorized_dm_behavior": "ignore"}, origins=given)

    def test_a_policy_that_was_given_beats_the_lists(self) -> None:
        given = {"TELEGRAM_DM_POLICY": "config.yaml platforms.telegram.dm_policy"}
        self.assert_pairs(True, allowed_users=("1",), gateway={"allowed_users": ("2",)}, origins=given)
        for policy in ("allowlist", "disabled", "open"):
            self.assert_pairs(False, dm_policy=policy, origins=given)

    def test_any_list_means_that_no_strangers_are_wanted(self) -> None:
        for name in ("allowed_users", "allow_from", "group_allow_from", "group_allowed_chats"):
            self.assert_pairs(False, **{name: ("1",)})
        self.assert_pairs(False, gateway={"allowed_users": ("1",)})


@override_settings(ACCESS_CHECK_SECONDS=60)
class FloodTests(DoorTestCase):
    def test_a_person_who_was_answered_costs_no_statement_until_they_may_ask_again(self) -> None:
        write("7")
        with self.assertNumQueries(0):
            self.assertEqual(write(*"7777777777").chats, [])
        PairingRequest.objects.all().delete()
        with mock.patch.object(time, "monotonic", return_value=time.monotonic() + 601):
            self.assertEqual(len(write("7").chats), 1)

    def test_of_a_crowd_some_are_turned_away_and_the_others_cost_no_statement(self) -> None:
        accepted = write(*(str(number) for number in range(100)))
        self.assertEqual(len(accepted.chats), pairing.MOST_PENDING + strangers.NOTICES)
        with self.assertNumQueries(0):
            self.assertEqual(write(*(str(number) for number in range(100, 200))).chats, [])

    def test_a_crowd_is_looked_at_again_after_a_minute(self) -> None:
        write(*(str(number) for number in range(20)))
        pairing.clear(by=ANN)
        with mock.patch.object(time, "monotonic", return_value=time.monotonic() + strangers.CLOSED_SECONDS):
            self.assertEqual(len(write("20", "21").chats), 2)
        self.assertEqual(pairing.pending().count(), 2)

    def test_a_locked_platform_costs_one_look_a_minute(self) -> None:
        for _ in range(pairing.MOST_FAILURES):
            with self.assertRaises(pairing.UnknownCode):
                pairing.approve(by=ANN, platform="telegram", code="AAAA2222")
        with mock.patch.object(pairing, "request", wraps=pairing.request) as request:
            self.assertEqual(write(*(str(number) for number in range(100))).chats, [])
        self.assertEqual(request.call_count, 1)
        self.assertTrue(PairingGuard.objects.exists())

    def test_the_memory_has_an_end(self) -> None:
        with mock.patch.object(strangers, "REMEMBERED", 2):
            write(*"123")
        self.assertEqual(len(strangers.memory._people), 2)

    def test_two_messages_in_two_processes_are_one_request(self) -> None:
        write("7")
        strangers.memory.forget()  # the other process does not know of the first
        self.assertEqual(write("7").chats, [])
        with self.assertNumQueries(0):
            write("7")
        self.assertEqual(PairingRequest.objects.count(), 1)
