"""What operators do: replay, discard, open a gate. Asked back first, done once, noted, and only by who may."""

from __future__ import annotations

from unittest import mock

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import TestCase
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from gateway_app import dead_letters, schedule
from gateway_app.models import InboundMessage, MemoryFlush, OutboundPart, SendGate
from tests.factories import make_inbound, make_outbound, make_session, make_turn

ADMIN = reverse("admin:index")
INBOX = reverse("admin:gateway_app_inboundmessage_changelist")
OUTBOX = reverse("admin:gateway_app_outboundpart_changelist")
FLUSHES = reverse("admin:gateway_app_memoryflush_changelist")


def person(*permissions: str) -> User:
    """A member of the staff with these permissions, such as `change_sendgate`."""
    user = User.objects.create_user(f"person-{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def inbox_path(row: InboundMessage, what: str = "change") -> str:
    return f"{INBOX}{row.pk}/{what}/"


class ActionTests(TestCase):
    def setUp(self) -> None:
        self.user = person("change_inboundmessage", "change_outboundpart", "change_sendgate")
        self.client.force_login(self.user)
        self.enterContext(mock.patch.object(dead_letters, "doorbell"))

    def run_action(self, path: str, name: str, *rows: InboundMessage | OutboundPart | SendGate, **data: str) -> str:
        response = self.client.post(
            path, {"action": name, "_selected_action": [row.pk for row in rows], **data}, follow=True
        )
        self.assertEqual(response.status_code, 200)
        return response.content.decode()

    def states(self) -> list[str]:
        return list(InboundMessage.objects.order_by("pk").values_list("state", flat=True))

    def test_nothing_happens_before_the_question_is_answered(self) -> None:
        row = make_inbound(state="dead", reason="given up <b>")
        content = self.run_action(INBOX, "replay", row)
        self.assertIn("Replay 1 dead letter?", content)
        self.assertIn("given up &lt;b&gt;", content)
        self.assertEqual(self.states(), ["dead"])
        self.assertFalse(LogEntry.objects.exists())

    def test_many_are_replayed_and_each_is_noted(self) -> None:
        rows = [make_inbound(state="dead") for _ in range(3)]
        content = self.run_action(f"{INBOX}?state__exact=dead", "replay", *rows[:2], confirmed="yes")
        self.assertIn("Replayed 2 dead letters.", content)
        self.assertEqual(self.states(), ["waiting", "waiting", "dead"])
        notes = LogEntry.objects.values_list("user_id", "object_id", "change_message")
        expected = {(self.user.pk, str(row.pk), "Replayed the dead letter.") for row in rows[:2]}
        self.assertEqual(set(notes), expected)

    def test_the_question_carries_the_selection_over(self) -> None:
        rows = [make_outbound(state="dead") for _ in range(2)]
        content = self.run_action(OUTBOX, "discard", *rows)
        for row in rows:
            self.assertIn(f'<input type="hidden" name="_selected_action" value="{row.pk}">', content)
        self.assertIn('<input type="hidden" name="action" value="discard">', content)

    def test_all_that_match_are_taken_in_batches(self) -> None:
        for _ in range(5):
            make_inbound(state="dead")
        make_inbound()
        first = InboundMessage.objects.order_by("pk")[0]
        with mock.patch.object(dead_letters, "BATCH", 2):
            self.run_action(f"{INBOX}?state__exact=dead", "discard", first, select_across="1", confirmed="yes")
        self.assertEqual(self.states(), ["discarded"] * 5 + ["waiting"])
        self.assertEqual(LogEntry.objects.count(), 5)

    def test_rows_that_are_no_dead_letters_are_passed_over_and_said(self) -> None:
        dead, waiting = make_inbound(state="dead"), make_inbound()
        content = self.run_action(INBOX, "discard", dead, waiting)
        self.assertIn("Discard 1 dead letter?", content)
        self.assertIn("1 selected row is no dead letter", content)
        content = self.run_action(INBOX, "discard", dead, waiting, confirmed="yes")
        self.assertIn("Discarded 1 dead letter.", content)
        self.assertIn("1 row was no dead letter", content)
        self.assertEqual(self.states(), ["discarded", "waiting"])
        self.assertEqual(LogEntry.objects.count(), 1)

    def test_one_is_replayed_from_its_page(self) -> None:
        row = make_inbound(state="dead")
        self.assertContains(self.client.get(inbox_path(row)), "replay_one")
        self.assertContains(self.client.get(inbox_path(row, "replay_one")), "Replay 1 dead letter?")
        self.assertEqual(self.states(), ["dead"])
        response = self.client.post(inbox_path(row, "replay_one"), {"confirmed": "yes"}, follow=True)
        self.assertContains(response, "Replayed 1 dead letter.")
        self.assertNotContains(response, "replay_one")
        self.assertEqual(self.states(), ["waiting"])
        self.assertEqual(LogEntry.objects.get().object_id, str(row.pk))

    def test_a_second_answer_changes_nothing(self) -> None:
        row = make_outbound(state="dead")
        path = f"{OUTBOX}{row.pk}/discard_one/"
        self.client.post(path, {"confirmed": "yes"})
        response = self.client.post(path, {"confirmed": "yes"}, follow=True)
        self.assertContains(response, "1 row was no dead letter (any more).")
        self.assertContains(self.client.get(path), "There is nothing to discard")
        self.assertEqual(LogEntry.objects.count(), 1)

    def test_the_note_and_the_deed_are_one_transaction(self) -> None:
        # Seen to fail with transaction.atomic() taken out of DeadLetterAdmin._do().
        row = make_inbound(state="dead")
        self.client.raise_request_exception = False
        failing = mock.patch.object(LogEntry.objects, "log_actions", side_effect=RuntimeError)
        with failing, self.assertLogs("django.request", "ERROR"):
            response = self.client.post(inbox_path(row, "discard_one"), {"confirmed": "yes"})
        self.assertEqual(response.status_code, 500)
        self.assertEqual(self.states(), ["dead"])

    def test_a_gate_is_opened_and_noted_once(self) -> None:
        path = reverse("admin:gateway_app_sendgate_changelist")
        later = timezone.now() + timezone.timedelta(minutes=5)
        gate = SendGate.objects.create(platform="telegram", account="bot", closed_until=later)
        self.assertRegex(self.client.get(path).content.decode(), "closed for (5|4) min")
        self.assertIn("Opened 1 gate.", self.run_action(path, "open_now", gate))
        self.assertIn("open already", self.run_action(path, "open_now", gate))
        self.assertEqual(LogEntry.objects.get().change_message, "Opened the gate before its time.")
        gate.refresh_from_db()
        self.assertLess(gate.closed_until, later)


class PermissionTests(TestCase):
    MODELS = (
        "inboundmessage", "outboundpart", "turn", "session", "lane", "listener", "channel", "sendgate", "heartbeat",
        "transcriptmessage",
    )  # fmt: skip

    def test_who_may_view_sees_but_does_not_act(self) -> None:
        self.client.force_login(person("view_inboundmessage"))
        row = make_inbound(state="dead")
        content = self.client.get(INBOX).content.decode()
        self.assertIn(f"#{row.pk}", content)
        self.assertNotIn("Replay dead letters", content)
        self.assertNotContains(self.client.get(inbox_path(row)), "replay_one")
        for what in ("replay_one", "discard_one"):
            self.assertEqual(self.client.get(inbox_path(row, what)).status_code, 403)
            self.assertEqual(self.client.post(inbox_path(row, what), {"confirmed": "yes"}).status_code, 403)
        data = {"action": "replay", "_selected_action": [row.pk], "confirmed": "yes"}
        self.client.post(INBOX, data)
        row.refresh_from_db()
        self.assertEqual(row.state, "dead")

    def test_who_may_act_on_the_outbox_does_not_see_the_inbox(self) -> None:
        self.client.force_login(person("change_outboundpart"))
        row = make_inbound(state="dead")
        self.assertEqual(self.client.get(INBOX).status_code, 403)
        self.assertEqual(self.client.post(inbox_path(row, "replay_one"), {"confirmed": "yes"}).status_code, 403)
        content = self.client.get(OUTBOX).content.decode()
        self.assertNotIn(INBOX, content)

    def test_who_may_do_nothing_sees_nothing(self) -> None:
        self.client.force_login(person())
        for model in self.MODELS:
            self.assertEqual(self.client.get(f"{ADMIN}gateway_app/{model}/").status_code, 403, model)
        self.assertNotIn("Throughput", self.client.get(ADMIN).content.decode())

    def test_nobody_adds_edits_or_deletes_rows_of_the_pipeline(self) -> None:
        self.client.force_login(User.objects.create_superuser("admin"))
        turn = make_turn(session=make_session())
        row = make_inbound(state="dead", turn=turn, text="as it was")
        for model in self.MODELS:
            self.assertEqual(self.client.get(f"{ADMIN}gateway_app/{model}/add/").status_code, 403, model)
        for path in (inbox_path(row), f"{ADMIN}gateway_app/turn/{turn.pk}/change/"):
            self.assertEqual(self.client.post(path, {"text": "changed", "state": "done"}).status_code, 403)
        self.assertEqual(self.client.post(inbox_path(row, "delete"), {"post": "yes"}).status_code, 403)
        self.client.post(INBOX, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
        row.refresh_from_db()
        self.assertEqual((row.text, row.state), ("as it was", "dead"))

    def test_strangers_are_sent_to_the_sign_in(self) -> None:
        for path in (ADMIN, INBOX, inbox_path(make_inbound(state="dead"), "replay_one")):
            response = self.client.get(path)
            self.assertEqual(response.status_code, 302)
            self.assertIn("login", response["Location"])

    def test_of_the_schedule_only_the_switch_is_the_operators(self) -> None:
        schedule.ensure()
        entry = PeriodicTask.objects.get(name="gateway: canary")
        path = f"{ADMIN}django_celery_beat/periodictask/{entry.pk}/change/"
        self.client.force_login(person("change_periodictask"))
        self.client.post(path, {"task": "os.system", "queue": "elsewhere"})
        changed = PeriodicTask.objects.get(pk=entry.pk)
        self.assertEqual((changed.task, changed.queue, changed.enabled), (entry.task, entry.queue, False))
        schedule.ensure()
        self.assertFalse(PeriodicTask.objects.get(pk=entry.pk).enabled)


class FlushTests(TestCase):
    def setUp(self) -> None:
        self.client.force_login(person("change_memoryflush"))
        self.failed, self.done = (
            MemoryFlush.objects.create(
                session=make_session(), honcho_session_key=f"key {state}", reason="idle", state=state, attempts=3
            )
            for state in ("failed", "done")
        )

    def test_one_that_was_given_up_is_tried_again_and_noted(self) -> None:
        rows = [self.failed.pk, self.done.pk]
        response = self.client.post(
            f"{FLUSHES}?state__exact=failed", {"action": "retry", "_selected_action": rows}, follow=True
        )
        content = response.content.decode()
        self.assertIn("1 will be tried again.", content)
        self.failed.refresh_from_db()
        self.assertEqual((self.failed.state, self.failed.attempts), ("waiting", 0))
        self.assertEqual(LogEntry.objects.get().object_id, str(self.failed.pk))

    def test_who_may_only_look_is_offered_nothing(self) -> None:
        self.client.force_login(person("view_memoryflush"))
        self.client.post(FLUSHES, {"action": "retry", "_selected_action": [self.failed.pk]})
        self.failed.refresh_from_db()
        self.assertEqual(self.failed.state, "failed")
