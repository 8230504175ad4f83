"""Allowances and bans: what may be written, that each change is audited once, and what still lets somebody in."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.test import TransactionTestCase
from django.utils import timezone

from gateway_app.access import rules
from gateway_app.access.audit import Actor, verify
from gateway_app.access.standing import because, standing
from gateway_app.models import AccessRule, AuditEntry, Person
from gateway_app.models.access import Effect, Origin, SubjectKind
from gateway_app.models.audit import AuditAction, Door
from tests.configuration import configured
from tests.test_lanes import at_once

BY = Actor("operator", Door.COMMAND_LINE)


def allow(subject_id: str = "7", **values: Any) -> rules.Put:
    return rules.allow(**{"platform": "telegram", "subject_id": subject_id, "by": BY} | values)


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


def may_write(user_id: str = "7", platform: str = "telegram") -> bool:
    return standing(platform=platform, user_id=user_id).direct.is_allowed


class RuleTests(TransactionTestCase):
    def test_an_allowance_lets_a_person_in_and_taking_it_back_locks_them_out(self) -> None:
        put = allow()
        self.assertTrue(put.is_new)
        self.assertTrue(may_write())
        removal = rules.remove(rule_id=put.rule.pk, by=BY)
        self.assertEqual(len(removal.removed), 1)
        self.assertFalse(may_write())
        self.assertEqual(actions(), [AuditAction.RULE_ADDED, AuditAction.RULE_REMOVED])

    def test_a_ban_beats_an_allowance(self) -> None:
        allow()
        rules.deny(platform="telegram", subject_id="7", by=BY)
        self.assertFalse(may_write())

    def test_an_allowance_for_every_platform_holds_on_each(self) -> None:
        allow(platform="")
        self.assertTrue(may_write(platform="telegram") and may_write(platform="webchat"))

    def test_what_is_in_force_already_is_not_written_again(self) -> None:
        first = allow(note="friend")
        again = allow(note="friend")
        self.assertFalse(again.is_changed)
        self.assertEqual((again.rule.pk, len(actions())), (first.rule.pk, 1))

    def test_a_change_of_note_or_end_is_one_change(self) -> None:
        allow(note="friend")
        put = allow(note="guest", expires_at=timezone.now() + timedelta(days=1))
        self.assertEqual((put.is_new, put.is_changed), (False, True))
        self.assertEqual(actions(), [AuditAction.RULE_ADDED, AuditAction.RULE_CHANGED])

    def test_a_rule_that_was_taken_back_can_be_put_in_force_again(self) -> None:
        put = allow()
        rules.remove(rule_id=put.rule.pk, by=BY)
        again = allow()
        self.assertEqual((again.is_new, again.rule.pk), (True, put.rule.pk))
        self.assertTrue(may_write())

    def test_taking_back_twice_is_one_change(self) -> None:
        put = allow()
        rules.remove(rule_id=put.rule.pk, by=BY)
        self.assertEqual(rules.remove(rule_id=put.rule.pk, by=BY).removed, [])
        self.assertEqual(len(actions()), 2)

    def test_an_end_in_the_past_is_refused(self) -> None:
        with self.assertRaisesRegex(ValidationError, "allowed: a moment yet to come"):
            allow(expires_at=timezone.now() - timedelta(seconds=1))
        self.assertEqual(actions(), [])

    def test_a_rule_whose_end_has_come_counts_no_more_and_is_taken_back_by_the_clock_once(self) -> None:
        put = allow(expires_at=timezone.now() + timedelta(hours=1))
        AccessRule.objects.update(expires_at=timezone.now() - timedelta(seconds=1), version=2)
        self.assertFalse(may_write())
        self.assertEqual([rules.expire_due(), rules.expire_due()], [1, 0])
        self.assertFalse(AccessRule.objects.get(pk=put.rule.pk).is_active)
        entry = AuditEntry.objects.latest("pk")
        self.assertEqual((entry.action, entry.door), (AuditAction.RULE_EXPIRED, Door.SYSTEM))

    def test_ids_with_colons_and_other_signs_are_taken_as_they_are(self) -> None:
        for name in ("@ann:example.org", "a*b", "+41 79", "ann@example.org", "李"):
            with self.subTest(name):
                allow(name)
                self.assertTrue(may_write(name))
                self.assertFalse(may_write(name + "x"))

    def test_what_names_nobody_is_refused_with_what_was_found(self) -> None:
        for name, said in (
            ("", "0 characters"), ("a\nb", "3 characters"), ("x" * 10_000, "10,000 characters"), ("a\x00b", "5 ?|x00"),
            ("\u200b", "printable"), ("\ud800", "printable"),
        ):  # fmt: skip
            with self.subTest(name[:10]), self.assertRaisesRegex(ValidationError, said):
                allow(name)
        self.assertEqual(AccessRule.objects.count(), 0)

    def test_a_platform_that_there_is_not_is_refused_with_those_there_are(self) -> None:
        with self.assertRaisesRegex(ValidationError, "'myspace'; allowed: cli, telegram, webchat"):
            allow(platform="myspace")

    def test_a_chat_needs_its_platform(self) -> None:
        with self.assertRaises(ValidationError):
            allow("-100", subject=SubjectKind.CHAT, platform="")

    def test_the_same_rule_written_by_many_at_once_is_one_row_and_one_change(self) -> None:
        at_once(*[functools.partial(allow, note="same")] * 10)
        self.assertEqual((AccessRule.objects.count(), len(actions())), (1, 1))

    def test_many_who_take_a_rule_back_at_once_make_one_change(self) -> None:
        put = allow()
        at_once(*[functools.partial(rules.remove, rule_id=put.rule.pk, by=BY)] * 10)
        self.assertEqual(actions(), [AuditAction.RULE_ADDED, AuditAction.RULE_REMOVED])
        self.assertEqual(verify().faults, [])


class RevokeTests(TransactionTestCase):
    def test_a_person_who_is_revoked_is_locked_out(self) -> None:
        allow()
        removal = rules.revoke(platform="telegram", user_id="7", by=BY)
        assert removal.standing
        self.assertEqual((len(removal.removed), removal.standing.allowing), (1, []))

    def test_a_list_of_the_configuration_that_still_lets_the_person_in_is_named(self) -> None:
        allow()
        with configured(access={"platforms": {"telegram": {"allowed_users": ("7",)}}}):
            removal = rules.revoke(platform="telegram", user_id="7", by=BY)
            assert removal.standing
            (still,) = removal.standing.allowing
            self.assertTrue(because(still).startswith("TELEGRAM_ALLOWED_USERS"))

    def test_an_allowance_for_every_platform_that_still_lets_the_person_in_is_named(self) -> None:
        allow()
        everywhere = allow(platform="").rule
        removal = rules.revoke(platform="telegram", user_id="7", by=BY)
        assert removal.standing
        (still,) = removal.standing.allowing
        self.assertEqual(still.rule_id, everywhere.pk)

    def test_an_allowance_of_the_stable_alternative_id_goes_too(self) -> None:
        Person.objects.create(platform="telegram", user_id="7", user_id_alt="uuid")
        allow("uuid")
        self.assertEqual(len(rules.revoke(platform="telegram", user_id="7", by=BY).removed), 1)

    def test_allowances_of_others_stay(self) -> None:
        allow("8")
        self.assertEqual(rules.revoke(platform="telegram", user_id="7", by=BY).removed, [])
        self.assertTrue(may_write("8"))

    def test_a_paired_person_is_revoked_like_any_other(self) -> None:
        put = allow()
        AccessRule.objects.filter(pk=put.rule.pk).update(origin=Origin.PAIRING)
        rules.revoke(platform="telegram", user_id="7", by=BY)
        self.assertFalse(may_write())

    def test_a_ban_is_no_allowance_and_stays(self) -> None:
        ban = rules.deny(platform="telegram", subject_id="7", by=BY).rule
        rules.revoke(platform="telegram", user_id="7", by=BY)
        self.assertTrue(AccessRule.objects.get(pk=ban.pk, effect=Effect.DENY).is_active)
