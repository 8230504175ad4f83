"""Pairing: who gets a code, what an operator can do with it, and what nobody can."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from django.test import TestCase
from django.utils import timezone

from gateway_app import clock, doorbell, sealing
from gateway_app.access import audit, pairing, people, rules
from gateway_app.access.pairing import Outcome
from gateway_app.access.standing import standing
from gateway_app.models import AccessRule, AuditEntry, OutboundPart, PairingGuard, PairingRequest, Person
from gateway_app.models.access import Origin
from gateway_app.sessions.source import ChatType

from .pairing_case import ANN, BOB, WRONG, actions, age, ask, may_write


class ConstantTests(TestCase):
    def test_the_numbers_are_those_of_the_reference(self) -> None:
        self.assertEqual((pairing.CODE_SECONDS, pairing.REQUEST_SECONDS, pairing.MOST_PENDING), (3600, 600, 3))
        self.assertEqual((pairing.MOST_FAILURES, pairing.LOCK_SECONDS), (5, 3600))


class AskingTests(TestCase):
    def test_somebody_unknown_gets_a_code_in_a_reply_that_is_sealed(self) -> None:
        asked = ask()
        self.assertEqual((asked.outcome, asked.is_silent, len(asked.code)), (Outcome.ISSUED, False, 8))
        part = OutboundPart.objects.get()
        self.assertEqual((part.idempotency_key, part.is_sealed), (f"pairing/{asked.request_id}/code/0", True))
        self.assertEqual((part.chat_id, part.reply_to, part.lane.key), ("7", "70", asked.chat))
        text = sealing.unseal(part.text)
        self.assertIn(f"manage.py gateway pairing approve telegram {asked.code}", text)
        until = PairingRequest.objects.get().requested_at + timedelta(hours=1)
        self.assertIn(f"good for 60 minutes, until {until:%H:%M} UTC", text)

    def test_of_the_first_message_only_its_length_is_kept(self) -> None:
        ask(user_name="Ann\n\u202eevil\x00")
        row = PairingRequest.objects.get()
        self.assertEqual((row.message_id, row.message_chars, row.user_name), ("70", 5, "Ann evil"))

    def test_a_request_is_audited_once_and_grants_nothing(self) -> None:
        asked = ask()
        entry = AuditEntry.objects.get()
        self.assertEqual(
            (entry.action, entry.door, entry.actor, entry.subject), ("pairing_requested", "chat", "7", "7")
        )
        assert entry.after
        self.assertEqual((entry.after["request"], entry.after["user_name"]), (asked.request_id, "Ann"))
        self.assertFalse(may_write())

    def test_a_person_is_answered_once_in_ten_minutes(self) -> None:
        ask()
        age(590)
        asked = ask()
        self.assertEqual((asked.outcome, asked.is_silent, asked.code), (Outcome.RATE_LIMITED, True, ""))
        self.assertTrue(0 < asked.seconds <= 10)
        self.assertEqual((PairingRequest.objects.count(), OutboundPart.objects.count()), (1, 1))
        age(10)
        self.assertEqual(ask().outcome, Outcome.ISSUED)

    def test_two_ids_of_one_person_are_one_person(self) -> None:
        ask("7", user_id_alt="stable")
        self.assertEqual(ask("8", user_id_alt="stable").outcome, Outcome.RATE_LIMITED)

    def test_who_asks_again_while_they_wait_gets_another_code_in_place_of_the_first(self) -> None:
        first = ask()
        age(601)
        second = ask()
        self.assertEqual([row.pk for row in pairing.pending()], [second.request_id])
        self.assertEqual(actions(), ["pairing_requested"] * 2)
        with self.assertRaisesRegex(pairing.CodeExpired, "they asked again"):
            pairing.approve(by=ANN, platform="telegram", code=first.code)
        pairing.approve(by=ANN, platform="telegram", code=second.code)

    def test_the_fourth_who_would_wait_is_turned_away_and_told_once(self) -> None:
        for user in "123":
            self.assertEqual(ask(user).outcome, Outcome.ISSUED)
        asked = ask("4")
        self.assertEqual((asked.outcome, asked.is_silent, asked.code), (Outcome.TURNED_AWAY, False, ""))
        part = OutboundPart.objects.get(chat_id="4")
        self.assertEqual((part.is_sealed, part.text[:17]), (False, "Too many requests"))
        self.assertEqual(ask("4").outcome, Outcome.RATE_LIMITED)
        self.assertEqual((pairing.pending().count(), len(actions())), (3, 3))

    def test_a_place_that_gets_free_is_given_to_the_next(self) -> None:
        for user in "1234":
            ask(user)
        pairing.deny(request_id=pairing.pending()[0].pk, by=ANN)
        self.assertEqual(ask("5").outcome, Outcome.ISSUED)
        self.assertEqual(ask("6").outcome, Outcome.TURNED_AWAY)

    def test_who_waits_already_may_ask_anew_although_no_place_is_left(self) -> None:
        for user in "123":
            ask(user)
        age(601)
        self.assertEqual(ask("2").outcome, Outcome.ISSUED)
        self.assertEqual(pairing.pending().count(), 3)

    def test_a_code_ends_after_an_hour_and_makes_room(self) -> None:
        for user in "123":
            ask(user)
        age(3600)
        self.assertEqual(pairing.pending().count(), 0)
        self.assertEqual(ask("4").outcome, Outcome.ISSUED)
        self.assertEqual(actions()[3:], ["pairing_expired"] * 3 + ["pairing_requested"])

    def test_who_is_allowed_or_banned_by_now_gets_nothing(self) -> None:
        rules.allow(platform="telegram", subject_id="7", by=ANN)
        rules.deny(platform="telegram", subject_id="8", by=ANN)
        self.assertEqual({ask(user).outcome for user in "78"}, {Outcome.UNWANTED})
        self.assertFalse(PairingRequest.objects.exists() or OutboundPart.objects.exists())

    def test_whom_no_rule_can_name_gets_nothing(self) -> None:
        for values in (
            {"user_id": ""}, {"user_id": "*"}, {"user_id": "7", "user_id_alt": "*"}, {"user_id": "7\n8"},
            {"user_id": "7" * 10_000}, {"user_id": "\x00"}, {"user_id": "\ud800"}, {"chat_id": "c" * 256},
            {"chat_type": ChatType.GROUP}, {"is_bot": True}, {"platform": "myspace"},
        ):  # fmt: skip
            with self.subTest(values), self.assertNumQueries(0):
                self.assertEqual(ask(**{"user": "7", **values}).outcome, Outcome.UNWANTED)

    def test_an_id_may_have_colons_and_stars_in_it(self) -> None:
        asked = ask("a:b*c%")
        row = pairing.approve(by=ANN, platform="telegram", code=asked.code)
        self.assertEqual(AccessRule.objects.get().subject_id, "a:b*c%")
        self.assertTrue(may_write(row.user_id))
        self.assertFalse(may_write("a:bxc%"))


class ApprovingTests(TestCase):
    def setUp(self) -> None:
        patch = mock.patch.object(doorbell, "ring_delivery")
        self.ring = patch.start()
        self.addCleanup(patch.stop)
        people._known.clear()
        self.addCleanup(people._known.clear)

    def test_an_approved_person_may_write_and_is_told_so(self) -> None:
        asked = ask()
        with self.captureOnCommitCallbacks(execute=True):
            row = pairing.approve(by=ANN, platform="telegram", code=asked.code)
        self.assertEqual((row.state, row.decided_by), ("approved", "ann"))
        self.assertTrue(may_write())
        part = OutboundPart.objects.get(idempotency_key=f"pairing/{row.pk}/approved/0")
        self.assertEqual((part.is_sealed, part.chat_id), (False, "7"))
        self.assertIn("let in", part.text)
        self.ring.assert_called_once_with([asked.chat])
        self.assertEqual(Person.objects.get().name, "Ann")

    def test_an_approval_is_audited_once_with_the_rule_it_made(self) -> None:
        asked = ask()
        pairing.approve(by=ANN, request_id=asked.request_id)
        self.assertEqual(actions(), ["pairing_requested", "pairing_approved"])
        entry = AuditEntry.objects.latest("pk")
        assert entry.before and entry.after
        self.assertEqual((entry.actor, entry.door, entry.subject), ("ann", "admin", "7"))
        self.assertEqual((entry.before["request"], entry.before["rule"]), (asked.request_id, None))
        self.assertEqual(
            (entry.after["origin"], entry.after["effect"], entry.after["name"]), ("pairing", "allow", "Ann")
        )
        self.assertEqual(audit.verify().faults, [])

    def test_a_code_is_taken_in_any_case_and_with_spaces(self) -> None:
        for user, form in (("1", str.lower), ("2", " ".join), ("3", "-".join)):
            code = ask(user).code
            with self.subTest(user):
                self.assertEqual(pairing.approve(by=ANN, platform=" Telegram", code=form(code)).user_id, user)

    def test_the_rule_names_the_id_that_outlives_the_other(self) -> None:
        ask("7", user_id_alt="stable")
        pairing.approve(by=ANN, request_id=pairing.pending()[0].pk)
        self.assertEqual(AccessRule.objects.get().subject_id, "stable")
        removal = rules.revoke(platform="telegram", user_id="7", by=ANN)
        self.assertEqual(len(removal.removed), 1)

    def test_a_look_alike_name_lets_nobody_in(self) -> None:
        pairing.approve(by=ANN, request_id=ask("7").request_id)
        self.assertFalse(standing(platform="telegram", user_id="8").direct.is_allowed)
        self.assertEqual(ask("8", user_name="Ann").outcome, Outcome.ISSUED)

    def test_a_rule_that_was_taken_back_is_put_in_force_again(self) -> None:
        rule = rules.allow(platform="telegram", subject_id="7", by=ANN, note="until May").rule
        rules.remove(rule_id=rule.pk, by=ANN)
        pairing.approve(by=BOB, request_id=ask().request_id)
        rule.refresh_from_db()
        self.assertEqual((rule.is_active, rule.origin, rule.note, rule.expires_at), (True, Origin.PAIRING, "", None))
        self.assertTrue(may_write())

    def test_an_allowance_that_was_made_meanwhile_becomes_one_by_pairing(self) -> None:
        asked = ask()
        end = clock.read() + timedelta(days=1)
        rules.allow(platform="telegram", subject_id="7", by=ANN, note="a friend", expires_at=end)
        pairing.approve(by=BOB, request_id=asked.request_id)
        rule = AccessRule.objects.get()
        self.assertEqual((rule.origin, rule.note, rule.expires_at), (Origin.PAIRING, "a friend", None))
        entry = AuditEntry.objects.latest("pk")
        assert entry.before
        self.assertEqual(entry.before["rule"]["origin"], "manual")

    def test_who_was_banned_meanwhile_is_not_approved(self) -> None:
        asked = ask()
        rules.deny(platform="telegram", subject_id="7", by=ANN)
        with self.assertRaisesRegex(pairing.Banned, r"#\d+ \(telegram 7, Ann\) is banned by deny rule #\d+"):
            pairing.approve(by=BOB, request_id=asked.request_id)
        self.assertEqual((pairing.pending().count(), actions()[1:]), (1, ["rule_added"]))

    def test_the_second_of_two_approvers_is_told_who_was_first_and_when(self) -> None:
        asked = ask()
        pairing.approve(by=ANN, request_id=asked.request_id)
        when = f"{timezone.now():%Y-%m-%d %H:}"
        for again in ({"request_id": asked.request_id}, {"platform": "telegram", "code": asked.code}):
            with self.assertRaisesRegex(pairing.AlreadyDecided, f"was approved by ann, {when}.* UTC"):
                pairing.approve(by=BOB, **again)  # type: ignore[arg-type]  # one or the other
        self.assertEqual(len(actions()), 2)
        self.assertFalse(PairingGuard.objects.exists())

    def test_a_request_that_was_denied_or_cleared_is_not_approved(self) -> None:
        first, second = ask("1"), ask("2")
        pairing.deny(request_id=first.request_id or 0, by=ANN)
        pairing.clear(by=ANN)
        for asked, words in ((first, "was denied by ann"), (second, "was cleared by ann")):
            with self.assertRaisesRegex(pairing.AlreadyDecided, words):
                pairing.approve(by=BOB, platform="telegram", code=asked.code)

    def test_a_code_is_not_taken_after_its_hour(self) -> None:
        asked = ask()
        age(3600)
        with self.assertRaisesRegex(pairing.CodeExpired, "60 minutes have passed.*when they write again"):
            pairing.approve(by=ANN, platform="telegram", code=asked.code)
        with self.assertRaises(pairing.CodeExpired):
            pairing.approve(by=ANN, request_id=asked.request_id)
        self.assertEqual(actions(), ["pairing_requested", "pairing_expired"])
        self.assertFalse(may_write() or PairingGuard.objects.exists())

    def test_a_number_that_there_is_not_or_that_got_no_code_is_refused(self) -> None:
        for user in "1234":
            asked = ask(user)
        for number in (asked.request_id or 0, 10**15):
            with self.assertRaisesMessage(pairing.UnknownRequest, f"There is no pairing request #{number}."):
                pairing.approve(by=ANN, request_id=number)

    def test_a_platform_without_pairing_is_refused_with_those_that_have_it(self) -> None:
        for name in ("webchat", "myspace", ""):
            with self.assertRaisesMessage(pairing.UnknownPlatform, f"The platform is {name!r}; allowed: telegram."):
                pairing.approve(by=ANN, platform=name, code=WRONG)

    def test_a_code_of_one_platform_is_none_on_another(self) -> None:
        code = ask().code
        PairingRequest.objects.update(platform="elsewhere")
        with self.assertRaises(pairing.UnknownCode):
            pairing.approve(by=ANN, platform="telegram", code=code)

    def test_neither_a_number_nor_a_code_is_refused(self) -> None:
        for named in ({}, {"platform": "telegram"}, {"request_id": 1, "code": WRONG}):
            with self.assertRaisesMessage(pairing.PairingError, "by its number, or by its platform and its code"):
                pairing.approve(by=ANN, **named)  # type: ignore[arg-type]  # what it must not be given


class DecidingTests(TestCase):
    def test_a_denial_is_audited_with_its_reason_and_tells_the_person_nothing(self) -> None:
        asked = ask()
        row = pairing.deny(request_id=asked.request_id or 0, by=ANN, reason="a stranger")
        self.assertEqual((row.state, row.reason, row.decided_by), ("denied", "a stranger", "ann"))
        entry = AuditEntry.objects.latest("pk")
        self.assertEqual((entry.action, entry.reason), ("pairing_denied", "a stranger"))
        self.assertEqual(OutboundPart.objects.count(), 1)
        with self.assertRaisesRegex(pairing.AlreadyDecided, "was denied by ann"):
            pairing.deny(request_id=row.pk, by=BOB)

    def test_clearing_drops_what_waits_each_with_its_audit_row(self) -> None:
        for user in "12":
            ask(user)
        PairingRequest.objects.filter(user_id="2").update(platform="elsewhere")
        self.assertEqual(pairing.clear(by=ANN, platform="telegram"), 1)
        self.assertEqual(pairing.clear(by=ANN), 1)
        self.assertEqual(pairing.clear(by=ANN), 0)
        self.assertEqual(actions()[2:], ["pairing_cleared"] * 2)

    def test_what_is_over_is_ended_once_by_the_clock(self) -> None:
        ask("1")
        age(3600)
        ask("2")
        self.assertEqual((pairing.expire_due(), pairing.expire_due()), (0, 0))  # asking had ended the first
        age(3600, user_id="2")
        self.assertEqual((pairing.expire_due(), pairing.expire_due()), (1, 0))
        entry = AuditEntry.objects.latest("pk")
        self.assertEqual((entry.action, entry.actor, entry.door), ("pairing_expired", "system", "system"))

    def test_those_turned_away_are_forgotten_when_they_may_ask_again(self) -> None:
        for user in "1234":
            ask(user)
        self.assertEqual(pairing.forget_turned_away(), 0)
        age(601)
        self.assertEqual((pairing.forget_turned_away(), pairing.forget_turned_away()), (1, 0))
        self.assertEqual(PairingRequest.objects.count(), 3)

    def test_the_oldest_request_is_the_first(self) -> None:
        ids = [ask(user).request_id for user in "123"]
        age(100, pk=ids[2])
        self.assertEqual([row.pk for row in pairing.pending("telegram")], [ids[2], ids[0], ids[1]])
        self.assertFalse(pairing.pending("cli").exists())
