"""`manage.py gateway whoami|access|audit`: what they say, what they change, and how they refuse."""

from __future__ import annotations

import io
import json
from unittest import mock

from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TransactionTestCase

from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.models import AccessRule, AuditEntry, Person
from gateway_app.models.audit import Door
from gateway_app.sessions.source import ChatType, SessionSource
from hermes_site.audit_in_tests import without_triggers
from tests.configuration import configured


def gateway(*arguments: str) -> str:
    """What `manage.py gateway …` prints."""
    out = io.StringIO()
    call_command("gateway", *arguments, stdout=out, stderr=out, no_color=True)
    return out.getvalue()


def may_write(user_id: str, *, chat: str = "") -> bool:
    chat_type = ChatType.GROUP if chat else ChatType.DM
    source = SessionSource(platform="telegram", chat_id=chat or user_id, chat_type=chat_type, user_id=user_id)
    return gatekeeper.decide(source).is_allowed


class WhoamiTests(TransactionTestCase):
    def test_it_says_where_a_person_may_speak_and_by_which_rule(self) -> None:
        Person.objects.create(platform="telegram", user_id="7", name="Ann")
        with configured(access={"platforms": {"telegram": {"allow_from": ("7",)}}}):
            said = gateway("whoami", "telegram", "7")
        self.assertIn("known as 'Ann'", said)
        self.assertIn("direct messages: allowed by TELEGRAM_ALLOW_FROM", said)
        self.assertIn("groups: denied by nothing allows the sender", said)

    def test_it_is_asked_about_one_group(self) -> None:
        gateway("access", "allow", "telegram", "--chat=-100")
        self.assertIn("group -100: allowed by allow rule #", gateway("whoami", "telegram", "7", "--chat=-100"))
        self.assertIn("group -200: denied", gateway("whoami", "telegram", "7", "--chat=-200"))

    def test_a_platform_that_there_is_not_is_refused_with_those_there_are(self) -> None:
        with self.assertRaisesRegex(CommandError, "'myspace'; allowed: cli, telegram, webchat"):
            gateway("whoami", "myspace", "7")


class AccessTests(TransactionTestCase):
    def test_a_person_is_let_in_banned_and_the_ban_taken_back(self) -> None:
        self.assertIn("is new: allow person 7 on telegram", gateway("access", "allow", "telegram", "7"))
        self.assertTrue(may_write("7"))
        gateway("access", "deny", "any", "7", "--reason", "spam")
        self.assertFalse(may_write("7"))
        ban = AccessRule.objects.get(effect="deny")
        said = gateway("access", "remove", f"#{ban.pk}")
        self.assertIn(f"Took rule #{ban.pk} back", said)
        self.assertTrue(may_write("7"))
        self.assertEqual(AuditEntry.objects.count(), 3)
        self.assertEqual(set(AuditEntry.objects.values_list("door", flat=True)), {Door.COMMAND_LINE})

    def test_a_group_is_let_in_for_a_while(self) -> None:
        gateway("access", "allow", "telegram", "--chat=-100", "--days", "2", "--note", "party")
        self.assertTrue(may_write("8", chat="-100"))
        self.assertRegex(gateway("access", "list"), r"allow chat -100 on telegram  until 20.* UTC  party")

    def test_whoever_takes_an_allowance_back_is_told_what_still_lets_the_person_in(self) -> None:
        gateway("access", "allow", "telegram", "7")
        with configured(access={"allowed_users": ("7",)}):
            said = gateway("access", "remove", f"#{AccessRule.objects.get().pk}")
        self.assertIn("still let in, by GATEWAY_ALLOWED_USERS", said)

    def test_the_list_is_narrowed_to_a_platform(self) -> None:
        gateway("access", "allow", "telegram", "7")
        gateway("access", "allow", "webchat", "ann")
        said = gateway("access", "list", "webchat")
        self.assertIn("ann", said)
        self.assertIn("1 rule in force", said)

    def test_what_cannot_be_is_refused_with_what_is_allowed(self) -> None:
        for arguments, said in (
            (["allow", "telegram"], "Name a platform, and a person"),
            (["allow", "telegram", "7", "--chat=-1"], "Name a platform, and a person"),
            (["allow", "telegram", "a\nb"], "printable"),
            (["allow", "myspace", "7"], "allowed: cli"),
            (["allow", "any", "--chat=-1"], "allowed: cli"),
            (["allow", "telegram", "7", "--days", "0"], "more than 0"),
            (["remove", "seven"], "such as #12"),
            (["remove", "#99"], r"not in force"),
        ):
            with self.subTest(arguments), self.assertRaisesRegex(CommandError, said):
                gateway("access", *arguments)
        self.assertFalse(AuditEntry.objects.exists())


class AuditTests(TransactionTestCase):
    def setUp(self) -> None:
        for name in ("7", "8"):
            gateway("access", "allow", "telegram", name, "--reason", "family")

    def test_it_lists_what_changed_and_by_whom(self) -> None:
        with mock.patch("getpass.getuser", return_value="ann"):
            gateway("access", "deny", "telegram", "9")
        lines = gateway("audit", "list").splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[0], r"^#1 .*rule added: telegram 7  by .* \(command_line\)  family$")
        self.assertIn("by ann", lines[2])

    def test_programs_get_objects(self) -> None:
        (row,) = json.loads(gateway("audit", "list", "--json", "--most", "1"))
        self.assertEqual((row["id"], row["subject"], row["after"]["effect"]), (2, "8", "allow"))

    def test_a_whole_audit_is_said_to_be_whole_with_its_head(self) -> None:
        self.assertIn(f"2 rows, head {AuditEntry.objects.get(pk=2).hash}", gateway("audit", "verify"))

    def test_a_row_that_was_tampered_with_is_named(self) -> None:
        with without_triggers(connection):
            AuditEntry.objects.filter(pk=1).update(actor="nobody")
        err = io.StringIO()
        with self.assertRaisesRegex(CommandError, "not whole: 1 fault in 2 rows"):
            call_command("gateway", "audit", "verify", stderr=err, no_color=True)
        self.assertIn("row 1 was changed", err.getvalue())
