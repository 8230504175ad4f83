"""Rules: written and taken back through one function, which the audit hears of once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway_app.access import rules
from gateway_app.models import AccessRule
from tests.configuration import configured

from .access_case import ANN, VIEW, AccessCase, list_of, make_rule, page_of

RULES = list_of("accessrule")
ADD = f"{RULES}add/"


def given(**values: Any) -> dict[str, Any]:
    """What a browser sends for a new rule."""
    return {
        "effect": "allow", "subject": "user", "platform": "telegram", "subject_id": "77", "name": "", "note": "",
        "expires_at_0": "", "expires_at_1": "", "reason": "", "seen_version": "", **values,
    }  # fmt: skip


class WritingTests(AccessCase):
    permissions = (*VIEW, "add_accessrule", "change_accessrule", "delete_accessrule")

    def test_a_rule_is_added_with_end_note_and_one_audit_row(self) -> None:
        end = {"expires_at_0": "2099-12-31", "expires_at_1": "12:00"}
        said = self.said(ADD, given(name="Zoë", note="on trial", reason="asked by phone", **end))
        row = AccessRule.objects.get()
        self.assertEqual(said, [f"Rule #{row.pk} is in force: allow person 77 on telegram."])
        self.assertEqual((row.name, row.note, str(row.expires_at)), ("Zoë", "on trial", "2099-12-31 12:00:00+00:00"))
        self.assertEqual(row.created_by, self.user.username)
        self.assertEqual(self.audited(), [("rule_added", "admin", self.user.username, "77")])

    def test_what_the_rules_refuse_stands_in_the_form(self) -> None:
        cases = (
            ({"subject": "chat", "platform": ""}, "The platform is"),
            ({"subject_id": "a\nb"}, "printable characters"),
            ({"subject_id": "x" * 10_000}, "at most 255 characters"),
            ({"expires_at_0": "2001-01-01", "expires_at_1": "00:00"}, "a moment yet to come"),
            ({"platform": "nowhere"}, "not one of the available choices"),
            ({"effect": "maybe"}, "not one of the available choices"),
            ({"expires_at_0": "soon"}, "Enter a valid date"),
        )
        for wrong, said in cases:
            with self.subTest(wrong):
                response = self.client.post(ADD, given(**wrong))
                self.assertContains(response, said)
        self.assertFalse(AccessRule.objects.exists())
        self.assertEqual(self.audited(), [])

    def test_adding_what_is_in_force_just_so_changes_nothing(self) -> None:
        self.said(ADD, given())
        self.assertIn("was in force already", self.said(ADD, given())[0])
        self.assertEqual(len(self.audited()), 1)

    def test_a_rule_that_was_taken_back_is_put_in_force_by_adding_it(self) -> None:
        row = rules.allow(platform="telegram", subject_id="77", by=ANN).rule
        rules.remove(rule_id=row.pk, by=ANN)
        self.assertIn("is in force", self.said(ADD, given())[0])
        self.assertEqual([entry[0] for entry in self.audited()], ["rule_added", "rule_removed", "rule_added"])
        self.assertEqual(AccessRule.objects.count(), 1)

    def test_a_change_is_audited_once_and_leaves_whom_it_is_about(self) -> None:
        row = rules.deny(platform="telegram", subject_id="77", by=ANN).rule
        page = self.content(page_of(row))
        self.assertNotIn('name="subject_id"', page)
        data = {"note": "spam", "seen_version": row.version, "subject_id": "78", "effect": "allow", "is_active": "off"}
        self.assertIn("was changed", self.said(page_of(row), data)[0])
        row.refresh_from_db()
        self.assertEqual((row.note, row.subject_id, row.effect, row.is_active), ("spam", "77", "deny", True))
        self.assertEqual([entry[0] for entry in self.audited()], ["rule_added", "rule_changed"])

    def test_a_change_of_what_somebody_else_changed_meanwhile_is_refused(self) -> None:
        row = rules.allow(platform="telegram", subject_id="77", by=ANN).rule
        rules.allow(platform="telegram", subject_id="77", note="theirs", by=ANN)
        response = self.client.post(page_of(row), {"note": "mine", "seen_version": row.version})
        self.assertContains(response, "Somebody else changed this rule")
        self.assertEqual(AccessRule.objects.get().note, "theirs")

    def test_a_rule_is_taken_back_after_a_question(self) -> None:
        row = rules.allow(platform="telegram", subject_id="77", by=ANN).rule
        self.assertIn("Take rules back?", self.content(page_of(row, "remove_one")))
        self.assertTrue(AccessRule.objects.get().is_active)
        self.assertIn("Took rule", self.said(page_of(row, "remove_one"), {"confirmed": "yes", "reason": "left"})[0])
        self.assertFalse(AccessRule.objects.get().is_active)
        self.assertEqual(self.audited()[1:], [("rule_removed", "admin", self.user.username, "77")])
        self.assertIn("not in force any more", self.said(page_of(row, "remove_one"), {"confirmed": "yes"})[0])
        self.assertEqual(len(self.audited()), 2)

    def test_many_are_taken_back_after_one_question(self) -> None:
        rows = [rules.allow(platform="telegram", subject_id=str(number), by=ANN).rule for number in range(3)]
        chosen: dict[str, Any] = {"action": "remove", "_selected_action": [row.pk for row in rows[:2]]}
        self.assertContains(self.client.post(RULES, chosen), "Take rules back?")
        self.assertEqual(AccessRule.objects.filter(is_active=True).count(), 3)
        self.assertEqual(len(self.said(RULES, {**chosen, "confirmed": "yes"})), 2)
        self.assertEqual([row.is_active for row in AccessRule.objects.order_by("pk")], [False, False, True])

    @configured(access={"platforms": {"telegram": {"allowed_users": ["77"]}}})
    def test_the_list_that_still_lets_the_person_in_is_named(self) -> None:
        row = rules.allow(platform="telegram", subject_id="77", name="Zoë", by=ANN).rule
        said = self.said(page_of(row, "remove_one"), {"confirmed": "yes"})
        self.assertRegex(said[1], r"Zoë may still speak everywhere: TELEGRAM_ALLOWED_USERS \(.+\) lets them in\.")

    def test_looking_changes_nothing(self) -> None:
        row = make_rule()
        for path in (RULES, ADD, page_of(row), page_of(row, "remove_one")):
            self.client.get(path, {"confirmed": "yes", "action": "remove", "_selected_action": row.pk})
        self.assertEqual(self.audited(), [])
        row.refresh_from_db()
        self.assertTrue(row.is_active)

    def test_a_rule_is_never_deleted(self) -> None:
        self.client.force_login(User.objects.create_superuser("root"))
        row = make_rule()
        self.assertEqual(self.client.post(page_of(row, "delete"), {"post": "yes"}).status_code, 403)
        self.client.post(RULES, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
        self.assertTrue(AccessRule.objects.filter(pk=row.pk).exists())

    def test_the_history_of_a_rule_is_the_audit(self) -> None:
        row = make_rule(subject_id="a&b")
        response = self.client.get(page_of(row, "history"))
        self.assertRedirects(response, f"{list_of('auditentry')}?subject=a%26b")


class ListTests(AccessCase):
    def test_filters_and_search(self) -> None:
        now = timezone.now()
        make_rule(subject_id="in-force", name="Zoë")
        make_rule(subject_id="ending", effect="deny", expires_at=now + timedelta(days=1))
        make_rule(subject_id="has-ended", expires_at=now - timedelta(days=1))
        make_rule(subject_id="taken-back", is_active=False, platform="")
        cases: list[tuple[dict[str, str], set[str]]] = [
            ({}, {"in-force", "ending"}),
            ({"force": "ending"}, {"ending"}),
            ({"force": "ended"}, {"has-ended", "taken-back"}),
            ({"force": "all"}, {"in-force", "ending", "has-ended", "taken-back"}),
            ({"effect__exact": "deny"}, {"ending"}),
            ({"platform": "webchat"}, set()),
            ({"q": "in-"}, {"in-force"}),
            ({"q": "zoë"}, {"in-force"}),
        ]
        for query, expected in cases:
            with self.subTest(query):
                content = self.content(RULES, **query)
                names = {"in-force", "ending", "has-ended", "taken-back"}
                self.assertEqual({name for name in names if f"person {name}" in content}, expected)

    def test_a_long_list_costs_as_many_queries_as_a_short_one(self) -> None:
        costs = []
        for _ in range(2):
            for _ in range(10):
                make_rule()
            with CaptureQueriesContext(connection) as queries:
                self.content(RULES)
            costs.append(len(queries))
        self.assertEqual(costs[0], costs[1])
        self.assertLessEqual(costs[0], 14)

    def test_who_may_view_neither_adds_nor_changes_nor_takes_back(self) -> None:
        row = make_rule(note="as it was")
        self.content(page_of(row))
        self.assertEqual(self.client.get(ADD).status_code, 403)
        self.assertEqual(self.client.post(ADD, given()).status_code, 403)
        self.assertEqual(self.client.post(page_of(row), {"note": "x", "seen_version": row.version}).status_code, 403)
        self.assertEqual(self.client.post(page_of(row, "remove_one"), {"confirmed": "yes"}).status_code, 403)
        self.client.post(RULES, {"action": "remove", "_selected_action": [row.pk], "confirmed": "yes"})
        row.refresh_from_db()
        self.assertEqual((row.note, row.is_active), ("as it was", True))
        self.assertEqual(self.audited(), [])


class SimulatorTests(AccessCase):
    SIMULATOR = f"{RULES}simulator/"

    def asked(self, **values: str) -> str:
        return self.content(self.SIMULATOR, platform="telegram", **values)

    def test_it_answers_with_the_rule_that_decides_and_the_whole_ladder(self) -> None:
        row = rules.deny(platform="telegram", subject_id="77", by=ANN).rule
        with configured(access={"platforms": {"telegram": {"allowed_users": ["77"]}}}):
            content = self.asked(user_id="77")
        self.assertIn("Denied", content)
        self.assertIn(f"deny rule #{row.pk} (77 on telegram)", content)
        self.assertIn(page_of(row), content)
        self.assertRegex(content, r"TELEGRAM_ALLOWED_USERS \(")
        self.assertIn("GATEWAY_ALLOW_ALL_USERS is off", content)

    def test_groups_bots_and_people_without_an_id(self) -> None:
        with configured(
            access={"platforms": {"telegram": {"group_allowed_chats": ["-100"], "allow_bots": "mentions"}}}
        ):
            self.assertIn("TELEGRAM_GROUP_ALLOWED_CHATS", self.asked(chat_type="group", chat_id="-100"))
            self.assertIn("ALLOW_BOTS is mentions", self.asked(user_id="9", is_bot="on", is_mention="on"))
            self.assertIn("sender is a bot", self.asked(user_id="9", is_bot="on"))
            self.assertIn("sender without an id", self.asked())

    def test_nonsense_is_said_and_nothing_is_asked(self) -> None:
        self.assertNotIn("because of", self.content(self.SIMULATOR, platform="nowhere"))
        self.assertNotIn("because of", self.asked(user_id="x" * 10_000))
        self.assertIn("The answer stands here", self.content(self.SIMULATOR))

    def test_it_changes_nothing_and_needs_the_permission_to_see_rules(self) -> None:
        self.asked(user_id="<script>")
        self.assertEqual(self.audited(), [])
        self.sign_in("view_person")
        self.assertEqual(self.client.get(self.SIMULATOR).status_code, 403)
