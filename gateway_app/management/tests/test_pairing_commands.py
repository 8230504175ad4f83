"""`manage.py gateway pairing`: what it lists, decides and takes back, and how it refuses."""

from __future__ import annotations

import getpass
from unittest import mock

from django.core.management import CommandError
from django.test import TransactionTestCase

from gateway_app import doorbell
from gateway_app.access import pairing, people
from gateway_app.models import AuditEntry
from gateway_app.models.audit import Door
from tests.configuration import configured
from tests.factories import make_source

from .test_access_commands import gateway, may_write


class PairingCommandTests(TransactionTestCase):
    def setUp(self) -> None:
        patch = mock.patch.object(doorbell, "ring_delivery")
        patch.start()
        self.addCleanup(patch.stop)
        self.addCleanup(people._known.clear)
        people._known.clear()
        source = make_source(user_id="7", chat_id="7", user_name="Ann")
        self.asked = pairing.request(source=source, message_id="1", message_chars=1234)

    def test_who_waits_is_listed_without_what_they_wrote_or_their_code(self) -> None:
        said = gateway("pairing", "list")
        self.assertRegex(said, rf"#{self.asked.request_id}  telegram 7  Ann  .* ago, first message 1,234 characters")
        self.assertIn("1 request waits.", said)
        self.assertNotIn(self.asked.code, said)

    def test_a_code_lets_its_owner_in_in_any_case_and_with_spaces(self) -> None:
        code = self.asked.code.lower()
        said = gateway("pairing", "approve", "Telegram", code[:4], code[4:])
        self.assertIn(f"Let #{self.asked.request_id} (telegram 7, Ann) in. They are told on telegram.", said)
        self.assertTrue(may_write("7"))
        entry = AuditEntry.objects.latest("pk")
        self.assertEqual((entry.actor, entry.door), (getpass.getuser(), Door.COMMAND_LINE))
        self.assertIn("No requests wait.", gateway("pairing", "list", "telegram"))

    def test_a_number_lets_in_or_turns_down(self) -> None:
        gateway("pairing", "approve", f"#{self.asked.request_id}")
        with self.assertRaisesRegex(CommandError, "was approved by"):
            gateway("pairing", "deny", f"{self.asked.request_id}")

    def test_a_denial_keeps_its_reason(self) -> None:
        said = gateway("pairing", "deny", f"#{self.asked.request_id}", "--reason", "a stranger")
        self.assertIn("Denied #", said)
        self.assertEqual(AuditEntry.objects.latest("pk").reason, "a stranger")

    def test_a_wrong_code_says_how_many_are_left_and_the_lock_out_is_listed(self) -> None:
        for left in (4, 3, 2, 1):
            with self.assertRaisesRegex(CommandError, f"Nobody on telegram has that code. Wrong codes left: {left}."):
                gateway("pairing", "approve", "telegram", "AAAA2222")
        with self.assertRaisesRegex(CommandError, "no code has '0', 'O'; allowed: ABC.* is locked until"):
            gateway("pairing", "approve", "telegram", "0O")
        with self.assertRaisesRegex(CommandError, "is locked until"):
            gateway("pairing", "approve", "telegram", self.asked.code)
        self.assertIn("Pairing on telegram is locked until", gateway("pairing", "list"))

    def test_a_revoked_person_is_locked_out(self) -> None:
        gateway("pairing", "approve", f"#{self.asked.request_id}")
        said = gateway("pairing", "revoke", "telegram", "7", "--reason", "left")
        self.assertRegex(said, r"Took rule #\d+ back: allow person 7 on telegram.")
        self.assertIn("They are not let in any more: nothing allows the sender.", said)
        self.assertFalse(may_write("7"))

    def test_a_revocation_says_which_setting_still_lets_the_person_in(self) -> None:
        gateway("pairing", "approve", f"#{self.asked.request_id}")
        listed = {"telegram": {"allowed_users": ("7",)}}
        origins = {"TELEGRAM_ALLOWED_USERS": "environment TELEGRAM_ALLOWED_USERS"}
        with configured(access={"platforms": listed}, origins=origins):
            said = gateway("pairing", "revoke", "telegram", "7")
        self.assertIn("They are still let in, by TELEGRAM_ALLOWED_USERS (environment TELEGRAM_ALLOWED_USERS).", said)
        self.assertNotIn("not let in any more", said)

    def test_a_revocation_of_nothing_says_so(self) -> None:
        self.assertIn("No rule names 8 on telegram", gateway("pairing", "revoke", "telegram", "8"))

    def test_what_waits_is_dropped(self) -> None:
        self.assertIn("Dropped 1 request.", gateway("pairing", "clear-pending", "telegram"))
        self.assertIn("Dropped 0 requests.", gateway("pairing", "clear-pending"))

    def test_what_it_is_not_told_it_asks_for_with_an_example(self) -> None:
        for arguments, words in (
            (["approve"], "approve telegram ABCD2345"),
            (["approve", "ABCD2345"], "approve telegram ABCD2345"),
            (["deny", "telegram", "7"], "deny '#12'"),
            (["revoke", "7"], "revoke telegram 987654321"),
            (["list", "a", "b"], "list telegram"),
            (["list", "myspace"], "The platform is 'myspace'; allowed: telegram."),
            (["approve", "myspace", "ABCD2345"], "The platform is 'myspace'; allowed: telegram."),
            (["revoke", "myspace", "7"], "The platform is 'myspace'; allowed: cli, telegram, webchat"),
            (["deny", "#99"], "There is no pairing request #99."),
        ):
            with self.subTest(arguments), self.assertRaisesMessage(CommandError, words):
                gateway("pairing", *arguments)
