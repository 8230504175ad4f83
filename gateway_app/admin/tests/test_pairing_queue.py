"""The queue of people who ask to be let in: what it shows, and that one click decides once."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gateway_app.access import pairing
from gateway_app.access.standing import standing
from gateway_app.models import AccessRule, OutboundPart, PairingGuard, PairingRequest

from .access_case import ANN, AccessCase, list_of, make_pairing, page_of

QUEUE = list_of("pairingrequest")


class QueueTests(AccessCase):
    permissions = ("change_pairingrequest", "view_accessrule", "view_auditentry")

    def states(self) -> list[str]:
        return list(PairingRequest.objects.order_by("pk").values_list("state", flat=True))

    def test_it_shows_who_waits_and_the_first_messages_length(self) -> None:
        row = make_pairing(user_name="Zoë <b>", user_id="77", message_chars=1234)
        make_pairing(state="approved", user_name="Long settled")
        content = self.content(QUEUE)
        self.assertIn("Zoë &lt;b&gt;", content)
        self.assertIn("77", content)
        self.assertIn("1,234 characters", content)
        self.assertNotIn("Long settled", content)
        self.assertNotIn(row.code_hash, content)
        self.assertIn("Long settled", self.content(QUEUE, state="decided"))

    def test_the_page_of_a_request_shows_nothing_of_its_code(self) -> None:
        row = make_pairing()
        content = self.content(page_of(row))
        for secret in (row.code_hash, row.code_salt):
            self.assertNotIn(secret, content)

    def test_one_click_approves_and_is_audited_once(self) -> None:
        row, other = make_pairing(user_id="77"), make_pairing()
        self.assertIn(f'formaction="{page_of(row, "approve")}"', self.content(QUEUE))
        self.assertEqual(
            self.said(page_of(row, "approve")), [f"Approved #{row.pk} (telegram 77, {row.user_name}); they are told."]
        )
        self.assertEqual(self.states(), ["approved", "pending"])
        self.assertEqual(self.audited(), [("pairing_approved", "admin", self.user.username, "77")])
        self.assertTrue(standing(platform="telegram", user_id="77").direct.is_allowed)
        self.assertEqual(OutboundPart.objects.get().chat_id, row.chat_id)
        self.assertNotEqual(other.state, "approved")

    def test_one_click_denies_with_a_reason_and_is_audited_once(self) -> None:
        row = make_pairing(user_id="77")
        self.assertEqual(self.said(page_of(row, "deny"), {"reason": "unknown"})[0][:6], "Denied")
        row.refresh_from_db()
        self.assertEqual((row.state, row.reason, row.decided_by), ("denied", "unknown", self.user.username))
        self.assertEqual(self.audited(), [("pairing_denied", "admin", self.user.username, "77")])
        self.assertFalse(AccessRule.objects.exists())

    def test_many_are_approved_at_once_each_with_its_audit_row(self) -> None:
        rows = [make_pairing() for _ in range(3)]
        chosen = {"action": "approve_chosen", "_selected_action": [row.pk for row in rows[:2]]}
        self.assertEqual(len(self.said(QUEUE, chosen)), 2)
        self.assertEqual(self.states(), ["approved", "approved", "pending"])
        self.assertEqual([entry[0] for entry in self.audited()], ["pairing_approved"] * 2)
        self.said(QUEUE, {"action": "deny_chosen", "_selected_action": [rows[2].pk]})
        self.assertEqual(self.states()[2], "denied")

    def test_the_second_of_two_approvers_is_told_who_was_first(self) -> None:
        row = make_pairing()
        pairing.approve(request_id=row.pk, by=ANN)
        self.assertRegex(self.said(page_of(row, "approve"))[0], r"was approved by ann, \d{4}")
        self.assertRegex(self.said(page_of(row, "deny"))[0], "was approved by ann")
        self.assertEqual(len(self.audited()), 1)

    def test_a_request_that_has_expired_is_not_in_the_queue_and_not_approved(self) -> None:
        row = make_pairing(requested_at=timezone.now() - timedelta(hours=2), user_name="Too late")
        self.assertNotIn("Too late", self.content(QUEUE))
        self.assertIn("no longer good", self.said(page_of(row, "approve"))[0])
        self.assertFalse(AccessRule.objects.exists())

    def test_a_lock_out_stands_above_the_queue_and_holds(self) -> None:
        row = make_pairing()
        guard = PairingGuard.objects.create(platform="telegram", locked_until=timezone.now() + timedelta(minutes=30))
        self.assertIn("Pairing on telegram is locked", self.content(QUEUE))
        self.assertIn("is locked until", self.said(page_of(row, "approve"))[0])
        self.assertEqual(self.states(), ["pending"])
        guard.locked_until = timezone.now() - timedelta(minutes=1)
        guard.save()
        self.assertNotIn("Pairing on telegram is locked", self.content(QUEUE))

    def test_a_number_that_is_not_there_is_said(self) -> None:
        self.assertEqual(self.said(f"{QUEUE}999/approve/"), ["There is no pairing request #999."])

    def test_after_a_click_the_list_is_filtered_as_before(self) -> None:
        row = make_pairing()
        self.assertIn(f"{page_of(row, 'deny')}?platform=telegram", self.content(QUEUE, platform="telegram"))
        response = self.client.post(f"{page_of(row, 'deny')}?platform=telegram")
        self.assertRedirects(response, f"{QUEUE}?platform=telegram")

    def test_people_are_found_by_number_id_and_name(self) -> None:
        row, other = make_pairing(user_name="Zoë", user_id="77"), make_pairing(user_name="Other")
        for term in ("77", "zo", f"#{row.pk}"):
            content = self.content(QUEUE, q=term)
            self.assertIn("Zoë", content, term)
            self.assertNotIn(other.user_name, content, term)

    def test_a_long_queue_costs_as_many_queries_as_a_short_one(self) -> None:
        costs = []
        for _ in range(2):
            for _ in range(10):
                make_pairing()
            with CaptureQueriesContext(connection) as queries:
                self.content(QUEUE)
            costs.append(len(queries))
        self.assertEqual(costs[0], costs[1])
        self.assertLessEqual(costs[0], 16)

    def test_looking_never_decides(self) -> None:
        row = make_pairing()
        for what in ("approve", "deny"):
            self.assertEqual(self.client.get(page_of(row, what)).status_code, 405)
        for path in (QUEUE, page_of(row)):
            self.client.get(path, {"action": "approve_chosen", "_selected_action": row.pk})
        self.assertEqual(self.states(), ["pending"])
        self.assertEqual(self.audited(), [])

    def test_a_click_needs_the_token_of_the_page(self) -> None:
        row = make_pairing()
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.user)
        with self.assertLogs("django.security.csrf"):
            self.assertEqual(client.post(page_of(row, "approve")).status_code, 403)
        page = client.get(QUEUE).content.decode()
        token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        self.assertEqual(client.post(page_of(row, "approve"), {"csrfmiddlewaretoken": token}).status_code, 302)
        self.assertEqual(self.states(), ["approved"])


class PermissionTests(AccessCase):
    def test_who_may_view_sees_the_queue_without_buttons(self) -> None:
        row = make_pairing(user_name="Zoë")
        content = self.content(QUEUE)
        self.assertIn("Zoë", content)
        for missing in ("formaction", "approve_chosen"):
            self.assertNotIn(missing, content)
        self.assertNotIn("formaction", self.content(page_of(row)))
        for what in ("approve", "deny"):
            self.assertEqual(self.client.post(page_of(row, what)).status_code, 403)
        self.client.post(QUEUE, {"action": "approve_chosen", "_selected_action": [row.pk]})
        row.refresh_from_db()
        self.assertEqual(row.state, "pending")

    def test_who_may_do_neither_sees_nothing_of_it(self) -> None:
        row = make_pairing()
        self.sign_in("view_session")
        self.assertEqual(self.client.get(QUEUE).status_code, 403)
        self.assertEqual(self.client.post(page_of(row, "approve")).status_code, 403)
        self.assertNotIn(QUEUE, self.content(reverse("admin:index")))

    def test_the_menu_and_the_dashboard_count_who_waits(self) -> None:
        self.client.force_login(User.objects.create_superuser("root"))
        self.assertNotIn("waits for a decision", self.content(reverse("admin:index")))
        make_pairing()
        content = self.content(reverse("admin:index"))
        self.assertIn("waits for a decision", content)
        self.assertIn(QUEUE, content)

    def test_nobody_adds_edits_or_deletes_requests_by_hand(self) -> None:
        self.client.force_login(User.objects.create_superuser("root"))
        row = make_pairing()
        self.assertEqual(self.client.get(f"{QUEUE}add/").status_code, 403)
        self.assertEqual(self.client.post(page_of(row), {"state": "approved"}).status_code, 403)
        self.assertEqual(self.client.post(page_of(row, "delete"), {"post": "yes"}).status_code, 403)
        row.refresh_from_db()
        self.assertEqual(row.state, "pending")
