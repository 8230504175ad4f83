"""Questions in the admin: what waits is decided once, and permissions are taken back, each with its audit row."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest import mock

from django.utils import timezone

from gateway_app import doorbell
from gateway_app.models import Lane, Question, ToolPermission
from tests.factories import make_session, make_source, make_turn

from .access_case import AccessCase, list_of, page_of


def make_question(**values: Any) -> Question:
    """A call that waits for its approval."""
    source = make_source(user_name="Zoë <b>")
    turn = make_turn(session=make_session(source=source), state="parked")
    return Question.objects.create(
        **{
            "turn": turn, "lane": turn.lane, "number": 1, "kind": "approval", "reply": 1, "tool_call_id": "id0",
            "tool": "pay", "text": '{"note": "<b>rent"}', "source": source.to_json(),
            "expires_at": timezone.now() + timedelta(hours=1), **values,
        }
    )  # fmt: skip


class QuestionPageTests(AccessCase):
    permissions = ("change_question", "change_toolpermission", "view_auditentry")

    def choose(self, action: str, *rows: Any) -> list[str]:
        model = rows[0]._meta.model_name
        with mock.patch.object(doorbell, "ring") as ring:
            said = self.said(list_of(model), {"action": action, "_selected_action": [row.pk for row in rows]})
        self.rings = ring.call_count
        return said

    def test_it_shows_what_would_run_and_whose_turn_it_is(self) -> None:
        row = make_question()
        for path in (list_of("question"), page_of(row)):
            content = self.content(path)
            self.assertIn("&lt;b&gt;rent", content)
            self.assertIn("Zoë &lt;b&gt;", content)
            self.assertNotIn(row.token, content)

    def test_a_call_is_approved_or_denied_once_and_its_session_is_rung_for(self) -> None:
        row, other = make_question(), make_question()
        self.assertEqual(self.choose("approve_chosen", row), ["Approved: pay (1)."])
        self.assertEqual(self.rings, 1)
        self.assertIsNotNone(Lane.objects.get(pk=row.lane_id).wake_at)
        self.assertEqual(self.choose("deny_chosen", row, other), ["Approved: pay (1).", "Denied: pay (1) is not run."])
        self.assertEqual(self.rings, 1)
        row.refresh_from_db()
        self.assertEqual(
            (row.state, row.scope, row.door, row.answered_by), ("approved", "once", "admin", self.user.username)
        )

    def test_questions_to_the_person_and_what_ran_out_are_not_decided_here(self) -> None:
        rows = [make_question(kind="clarify"), make_question(expires_at=timezone.now() - timedelta(seconds=1))]
        self.choose("approve_chosen", *rows)
        self.assertEqual(self.rings, 0)
        self.assertEqual(set(Question.objects.values_list("state", flat=True)), {"pending"})

    def test_who_may_only_look_decides_nothing(self) -> None:
        row = make_question()
        self.sign_in("view_question", "view_toolpermission")
        self.assertNotIn("approve_chosen", self.content(list_of("question")))
        self.client.post(list_of("question"), {"action": "approve_chosen", "_selected_action": [row.pk]})
        row.refresh_from_db()
        self.assertEqual(row.state, "pending")

    def test_a_permission_is_taken_back_with_its_audit_row(self) -> None:
        row = ToolPermission.objects.create(platform="telegram", account="bot", participant="77", tool="pay")
        self.assertIn("everywhere", self.content(list_of("toolpermission")))
        self.assertIn("Taken back", self.choose("take_back_chosen", row)[0])
        self.assertFalse(ToolPermission.objects.exists())
        self.assertEqual(self.audited(), [("permission_removed", "admin", self.user.username, "77")])
