"""What operators see of the ledger and do to it: its page, its dead letters, and /metrics."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gateway_app import backlog, dead_letters, doorbell, lanes
from gateway_app.access.roles import Role, permissions_of
from gateway_app.health import checks, exposition
from gateway_app.models import Lane
from gateway_app.models.lane import LaneKind
from honcho_app.models import HonchoWrite
from tests.factories import make_write

WRITES = reverse("admin:honcho_app_honchowrite_changelist")


class PageCase(TestCase):
    def setUp(self) -> None:
        self.user = User.objects.create_user("operator", is_staff=True)
        self.user.user_permissions.set(Permission.objects.filter(codename="change_honchowrite"))
        self.client.force_login(self.user)
        self.rung = self.enterContext(mock.patch.object(doorbell, "ring_honcho"))

    def content(self, path: str, **data: str) -> str:
        response = self.client.get(path, data)
        self.assertEqual(response.status_code, 200, path)
        return response.content.decode()


class WritePageTests(PageCase):
    def test_the_list_and_a_row_open_and_show_what_is_kept_as_text(self) -> None:
        row = make_write(content="<b>hello", state="dead", error="Honcho rejected the request (HTTP 422).")
        for path in (WRITES, f"{WRITES}{row.pk}/change/"):
            content = self.content(path)
            self.assertIn("&lt;b&gt;hello", content)
            self.assertIn("HTTP 422", content)
            self.assertNotIn("<b>hello", content)

    def test_rows_are_found_by_their_honcho_session_key(self) -> None:
        row, other = make_write(), make_write()
        content = self.content(WRITES, q=row.lane.key)
        self.assertIn(row.content, content)
        self.assertNotIn(other.content, content)

    def test_many_rows_cost_as_many_queries_as_few(self) -> None:
        costs = []
        for _ in range(2):
            for _ in range(6):
                make_write()
            with CaptureQueriesContext(connection) as queries:
                self.content(WRITES)
            costs.append(len(queries))
        self.assertEqual(costs[0], costs[1])

    def test_a_row_of_which_nobody_knows_what_came_says_so(self) -> None:
        make_write(attempted_at=timezone.now())
        self.assertIn("not known yet", self.content(WRITES))

    def test_the_menu_counts_what_was_given_up(self) -> None:
        make_write(state="dead")
        self.assertIn("Memory writes", self.content(WRITES))

    def test_a_viewer_sees_the_ledger_and_an_operator_acts_on_it(self) -> None:
        self.assertIn("honcho_app.view_honchowrite", permissions_of(Role.VIEWER))
        self.assertNotIn("honcho_app.change_honchowrite", permissions_of(Role.APPROVER))
        self.assertIn("honcho_app.change_honchowrite", permissions_of(Role.OPERATOR))

    def test_a_lanes_depth_counts_what_waits_for_honcho(self) -> None:
        row = make_write()
        make_write(turn=row.turn)
        make_write(turn=row.turn, state="sent")
        User.objects.filter(pk=self.user.pk).update(is_superuser=True)
        content = self.content(reverse("admin:gateway_app_lane_change", args=[row.lane_id]))
        self.assertRegex(content, r"Depth[\s\S]{0,400}>\s*2\s*<")


class DeadWriteTests(PageCase):
    def act(self, name: str, row: HonchoWrite) -> None:
        self.client.post(WRITES, {"action": name, "_selected_action": [row.pk], "confirmed": "yes"})

    def test_a_dead_letter_is_replayed_in_its_place_once_it_is_asked_for(self) -> None:
        row = make_write(state="dead", attempts=3, error="it was too long", finished_at=timezone.now())
        with self.captureOnCommitCallbacks(execute=True):
            self.act("replay", row)
        row.refresh_from_db()
        self.assertEqual((row.state, row.attempts, row.finished_at), ("waiting", 0, None))
        self.assertEqual(lanes.due(limit=10), [(LaneKind.HONCHO.value, row.lane.key)])
        self.rung.assert_called_once_with([row.lane.key])
        self.assertEqual(LogEntry.objects.get().change_message, "Replayed the dead letter.")

    def test_a_dead_letter_is_discarded_and_stays_to_be_seen(self) -> None:
        row = make_write(state="dead")
        self.act("discard", row)
        row.refresh_from_db()
        self.assertEqual(row.state, "discarded")

    def test_only_dead_letters_are_replayed_and_discarded(self) -> None:
        rows = [make_write(state=state).pk for state in ("waiting", "sent", "discarded")]
        self.assertEqual(dead_letters.replay_write(ids=rows), [])
        self.assertEqual(dead_letters.discard_write(ids=rows), [])


class BacklogTests(TestCase):
    def test_the_metrics_tell_the_backlog_its_age_and_what_was_given_up(self) -> None:
        row = make_write(created_at=timezone.now() - timedelta(hours=1))
        make_write(attempted_at=timezone.now())
        make_write(state="dead")
        make_write(state="sent")
        Lane.objects.filter(pk=row.lane_id).update(wake_at=timezone.now() - timedelta(minutes=2))
        found = {
            (metric.name, sample.labels.get("box") or sample.labels.get("kind")): sample.value
            for metric in exposition.gauges(backlog.read_all())
            for sample in metric.samples
        }
        self.assertEqual(found["hermes_waiting", "honcho"], 1)
        self.assertEqual(found["hermes_running", "honcho"], 1)
        self.assertEqual(found["hermes_dead_letters", "honcho"], 1)
        self.assertGreater(found["hermes_oldest_waiting_seconds", "honcho"], 3590)
        self.assertEqual(found["hermes_lanes_due", "honcho"], 1)
        self.assertGreater(found["hermes_lane_overdue_seconds", "honcho"], 110)

    def test_a_backlog_of_honchos_does_not_make_the_gateway_unready(self) -> None:
        before = [check.ok for check in checks.judge(backlog.read())]
        row = make_write(created_at=timezone.now() - timedelta(days=1))
        Lane.objects.filter(pk=row.lane_id).update(wake_at=timezone.now() - timedelta(days=1))
        make_write(state="dead")
        self.assertEqual([check.ok for check in checks.judge(backlog.read())], before)
