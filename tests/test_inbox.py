"""The inbox: events become rows once, in order, or are refused with an answer."""

from __future__ import annotations

from unittest import mock

from django.db import DatabaseError, connection
from django.test import TestCase, TransactionTestCase, override_settings

from gateway_app import doorbell, inbox, lanes, tasks
from gateway_app.models import Channel, InboundMessage, Lane, OutboundPart, Session
from gateway_app.models.lane import LaneKind
from gateway_app.platforms.base import UnreadableEvent
from gateway_app.sessions.source import ChatType
from tests import pipeline
from tests.configuration import configured
from tests.test_lanes import together


class InboxTests(TestCase):
    def setUp(self) -> None:
        self.platform = pipeline.use_recording_platform(self)

    def test_an_accepted_event_waits_in_its_sessions_lane(self) -> None:
        pipeline.accept("hello")
        row = InboundMessage.objects.get()
        self.assertEqual((row.state, row.text, row.seq), ("waiting", "hello", 1))
        self.assertEqual(row.lane.key, "agent:main:recording:dm:chat-ann")

    def test_an_event_that_is_known_already_changes_nothing(self) -> None:
        # Seen to fail with the constraint inbound_event_once taken out of the model.
        same = pipeline.event("hello", event_id="7")
        first, second = inbox.accept([same]), inbox.accept([same, same])
        self.assertEqual((first.event_ids, second.event_ids, second.rings), ({"7"}, set(), []))
        self.assertEqual(InboundMessage.objects.count(), 1)

    def test_events_of_one_session_keep_their_order_over_batches(self) -> None:
        pipeline.accept("1", "2")
        pipeline.accept("3")
        self.assertEqual(list(InboundMessage.objects.order_by("seq").values_list("text", flat=True)), ["1", "2", "3"])

    def test_a_batch_over_several_sessions_is_rung_once_for_each(self) -> None:
        accepted = inbox.accept([pipeline.event("a", user=user) for user in ("ann", "bob", "ann")])
        self.assertEqual({context.user_id for context in accepted.rings}, {"ann", "bob"})
        self.assertEqual(len(accepted.rings), 2)

    def test_a_session_that_a_worker_holds_is_not_rung(self) -> None:
        pipeline.accept("1")
        lanes.claim(kind=LaneKind.TURNS, key=Lane.objects.get().key)
        self.assertEqual(pipeline.accept("2").rings, [])

    def test_the_context_of_a_ring_names_the_open_session(self) -> None:
        (context,) = pipeline.accept("1").rings
        self.assertEqual(context.session_id, Session.objects.get().session_id)
        self.assertEqual(context.honcho_session_key, context.session_key)

    def test_a_session_is_opened_once_and_kept(self) -> None:
        pipeline.accept("1")
        pipeline.accept("2")
        self.assertEqual(Session.objects.count(), 1)

    @override_settings(LANE_MAX_DEPTH=2)
    def test_a_full_session_refuses_with_an_answer(self) -> None:
        accepted = pipeline.accept("1", "2", "3")
        self.assertEqual(pipeline.inbound_states(), ["waiting", "waiting", "refused"])
        self.assertEqual(len(accepted.refused), 1)
        self.assertIn("still busy with 2 messages", OutboundPart.objects.get().text)

    @override_settings(LANE_MAX_DEPTH=1)
    def test_a_known_event_is_not_refused_a_second_time(self) -> None:
        events = [pipeline.event("1"), pipeline.event("2")]
        inbox.accept(events)
        inbox.accept(events)
        self.assertEqual(OutboundPart.objects.count(), 1)

    @override_settings(INBOX_MAX_CHARS=10)
    def test_a_text_that_is_too_long_is_refused_with_both_numbers(self) -> None:
        pipeline.accept("x" * 11)
        self.assertEqual(pipeline.inbound_states(), ["refused"])
        self.assertIn("11 characters and I can take 10", OutboundPart.objects.get().text)

    def test_nul_and_lone_surrogates_do_not_reach_the_database(self) -> None:
        pipeline.accept("a\x00b\ud800c")
        self.assertEqual(InboundMessage.objects.get().text, "ab?c")

    @configured(access={"platforms": {"recording": {"allow_all_users": False}}})
    @override_settings(ACCESS_CHECK_SECONDS=60)
    def test_a_denied_sender_leaves_no_trace_and_costs_no_statement(self) -> None:
        denied = pipeline.event("let me in", event_id="9")
        inbox.accept([denied])
        with self.assertNumQueries(0):
            accepted = inbox.accept([denied])
        self.assertEqual(accepted.denied, {"9"})

    def test_a_sender_without_an_id_is_denied_even_where_everybody_is_allowed(self) -> None:
        self.assertEqual(len(inbox.accept([pipeline.event("x", user="")]).denied), 1)

    def test_an_unreadable_event_is_recorded_once_for_the_operator(self) -> None:
        bad = UnreadableEvent(event_id="5", platform="recording", account="", reason="no chat")
        for _ in range(2):
            inbox.accept([], unreadable=[bad])
        row = InboundMessage.objects.get()
        self.assertEqual((row.state, row.reason), ("rejected", "no chat"))

    def test_nothing_is_written_where_the_caller_may_no_longer_accept(self) -> None:
        def refuse() -> None:
            raise DatabaseError("lease lost")

        with self.assertRaises(DatabaseError):
            inbox.accept([pipeline.event("1")], assert_held=refuse)
        self.assertEqual(InboundMessage.objects.count(), 0)

    @override_settings(ACCESS_CHECK_SECONDS=60)
    def test_the_chat_is_remembered_and_not_written_again(self) -> None:
        pipeline.accept("1")
        self.assertEqual(Channel.objects.get().chat_id, "chat-ann")
        # The savepoint, then the lane, its depth and the session, the inbox, and the savepoint's end.
        with self.assertNumQueries(4 if connection.vendor == "postgresql" else 6):
            pipeline.accept("2")

    def test_people_in_a_group_have_their_own_sessions_and_share_a_thread(self) -> None:
        group = {"chat_id": "g", "chat_type": ChatType.GROUP}
        thread = group | {"thread_id": "t"}
        inbox.accept([pipeline.event("x", user=user, **place) for user in ("ann", "bob") for place in (group, thread)])
        self.assertEqual(Session.objects.count(), 3)

    @override_settings(RING_BATCH=2)
    def test_sessions_rung_for_together_share_tasks(self) -> None:
        accepted = inbox.accept([pipeline.event("x", user=user) for user in ("ann", "bob", "cy")])
        with mock.patch.object(tasks.run_turn, "apply_async") as publish:
            doorbell.ring(accepted.rings)
        rung = [[context["user_id"] for context in call.kwargs["args"]] for call in publish.call_args_list]
        self.assertEqual(rung, [["ann", "bob"], ["cy"]])

    def test_a_lane_with_only_known_events_is_taken_off_the_sweep(self) -> None:
        same = pipeline.event("hello")
        inbox.accept([same])
        InboundMessage.objects.update(state="done")
        inbox.accept([same])
        doorbell.sweep()
        self.assertEqual(lanes.due(limit=10), [])


class ConcurrentInboxTests(TransactionTestCase):
    def setUp(self) -> None:
        pipeline.use_recording_platform(self)

    def test_one_event_accepted_by_many_at_once_is_one_row(self) -> None:
        same = pipeline.event("hello")
        together(8, lambda: inbox.accept([same]))
        self.assertEqual(InboundMessage.objects.count(), 1)
        self.assertEqual(Session.objects.count(), 1)

    def test_batches_that_overlap_in_any_order_do_not_deadlock(self) -> None:
        users = [f"user-{number}" for number in range(6)]

        def accept() -> None:
            for order in (users, users[::-1], users[3:] + users[:3]):
                inbox.accept([pipeline.event("x", user=user) for user in order])

        together(4, accept)
        self.assertEqual(InboundMessage.objects.count(), 4 * 3 * 6)
        self.assertEqual(Session.objects.count(), 6)

    @override_settings(LANE_MAX_DEPTH=10)
    def test_the_depth_holds_when_many_write_at_once(self) -> None:
        together(6, lambda: pipeline.accept(*"abcd"))
        self.assertEqual(InboundMessage.objects.filter(state="waiting").count(), 10)
        self.assertEqual(InboundMessage.objects.filter(state="refused").count(), 14)
