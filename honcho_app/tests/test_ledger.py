"""What a turn puts down for Honcho, and when it is written."""

from __future__ import annotations

from unittest import mock

from django.test import SimpleTestCase
from django.utils import timezone

from gateway_app import doorbell, lanes
from gateway_app.agent.interruption import MARK
from gateway_app.models import InboundMessage, Lane, OutboundPart, Turn
from gateway_app.models.lane import LaneKind
from gateway_app.models.turn import StopReason, TurnState
from gateway_app.sessions.source import ChatType
from gateway_app.turns.closing import Outcome, close
from gateway_app.turns.opening import OpenTurn, claim_and_open
from honcho_app import fences, ledger, names
from honcho_app.configuration import HonchoConfig
from honcho_app.models import HonchoWrite
from tests import pipeline
from tests.configuration import configured
from tests.honcho_case import HonchoCase


class LedgerCase(HonchoCase):
    def setUp(self) -> None:
        super().setUp()
        self.rung = self.enterContext(mock.patch.object(doorbell, "ring_honcho"))

    def open(self, text: str, **values: object) -> OpenTurn:
        pipeline.accept(text, **values)
        turn = claim_and_open(session_key=pipeline.context(**values).session_key)
        assert turn
        return turn

    def contents(self) -> list[str]:
        return list(HonchoWrite.objects.order_by("lane_id", "seq").values_list("content", flat=True))


class KeptTests(LedgerCase):
    def test_what_was_said_is_written_in_order_and_under_its_speakers(self) -> None:
        self.say("hello", "and again")
        self.write()
        self.assertEqual(self.stored(), ["hello", "echo: hello", "and again", "echo: and again"])
        person = names.peer_name(pipeline.context(), HonchoConfig())
        found = self.honcho.messages(names.session_name(self.key()))
        self.assertEqual([message["peer_id"] for message in found], [person, "hermes"] * 2)
        self.assertEqual(self.states(), ["sent"] * 4)

    def test_each_message_names_its_turn_and_its_place_in_it(self) -> None:
        self.say("hello")
        self.write()
        turn = Turn.objects.get()
        found = self.honcho.messages(names.session_name(self.key()))
        name = f"{turn.session.session_id}/{turn.pk}"
        self.assertEqual(
            [message["metadata"] for message in found],
            [{"turn_id": name, "part": 0}, {"turn_id": name, "part": 1}],
        )
        self.assertEqual(
            [message["id"] for message in found],
            list(HonchoWrite.objects.order_by("seq").values_list("message_id", flat=True)),
        )

    def test_a_message_is_dated_when_it_was_said_however_late_it_is_written(self) -> None:
        self.say("hello")
        InboundMessage.objects.get()
        said = HonchoWrite.objects.get(part=0).said_at
        self.assertEqual(said, InboundMessage.objects.get().accepted_at)
        self.write()
        found = self.honcho.messages(names.session_name(self.key()))[0]
        self.assertEqual(timezone.datetime.fromisoformat(found["created_at"]), said)

    def test_nobody_is_observed_otherwise_than_configured(self) -> None:
        self.say("hello")
        self.write()
        made = next(each for each in self.honcho.requests if each["operation"] == "get_or_create_session")
        self.assertEqual(made["body"]["peers"]["hermes"], {"observe_me": False, "observe_others": False})

    def test_without_honcho_nothing_is_put_down(self) -> None:
        with configured(honcho={"base_url": ""}):
            self.say("hello")
        self.assertFalse(HonchoWrite.objects.exists())
        self.assertFalse(Lane.objects.filter(kind=LaneKind.HONCHO).exists())

    def test_where_messages_are_not_to_be_saved_none_is(self) -> None:
        self.use(saveMessages=False)
        self.say("hello")
        self.assertFalse(HonchoWrite.objects.exists())

    def test_a_turn_that_the_gateway_made_up_is_not_put_down(self) -> None:
        turn = self.open("hello")
        close(turn, Outcome(state=TurnState.DONE, reply="x", said=[said("x")], sync_honcho=False))
        self.assertFalse(HonchoWrite.objects.exists())

    def test_a_command_is_not_put_down(self) -> None:
        self.say("/sessions")
        self.assertTrue(OutboundPart.objects.exists())
        self.assertEqual(self.contents(), [])

    def test_of_a_turn_that_failed_the_persons_words_are_kept(self) -> None:
        turn = self.open("hello")
        close(turn, Outcome(state=TurnState.FAILED, reply="I am sorry."))
        self.assertEqual(self.contents(), ["hello"])

    def test_of_a_turn_that_was_stopped_what_was_said_so_far_is_kept(self) -> None:
        for text, kept in (("So far", ["hello", "So far\n\n"]), ("", ["hello"])):
            with self.subTest(text=text):
                HonchoWrite.objects.all().delete()
                turn = self.open("hello")
                turn.stop = StopReason.STOPPED
                answer = f"{text}\n\n{MARK}" if text else MARK
                close(turn, Outcome(state=TurnState.STOPPED, said=[said(answer)]))
                self.assertEqual(self.contents(), kept)

    def test_of_a_turn_that_was_given_up_nothing_is_kept_until_it_is_replayed(self) -> None:
        turn = self.open("hello")
        close(turn, Outcome(state=TurnState.DEAD, reply="I am sorry."))
        self.assertFalse(HonchoWrite.objects.exists())

    def test_tool_calls_and_their_results_are_not_kept(self) -> None:
        turn = self.open("hello")
        call = {"role": "assistant", "content": "Let me look.", "tool_calls": [{"id": "1"}]}
        result = {"role": "tool", "content": "secret", "tool_call_id": "1"}
        close(turn, Outcome(state=TurnState.DONE, reply="x", said=[call, result, said("x")]))
        self.assertEqual(self.contents(), ["hello", "x"])

    def test_what_joined_the_turn_is_kept_as_the_persons(self) -> None:
        turn = self.open("hello")
        joined = {"role": "user", "content": "and this"}
        close(turn, Outcome(state=TurnState.DONE, reply="x", said=[joined, said("x")]))
        self.assertEqual(self.contents(), ["hello", "and this", "x"])

    def test_recalled_memory_is_not_stored_again(self) -> None:
        block = fences.fenced("remembered")
        turn = self.open(f"{block}\nhello")
        close(turn, Outcome(state=TurnState.DONE, reply="x", said=[said(f"it says {block}")]))
        self.assertNotIn("remembered", "".join(self.contents()))
        self.assertEqual([text.strip() for text in self.contents()], ["hello", "it says"])

    def test_a_message_too_long_for_honcho_is_put_down_in_parts(self) -> None:
        self.use(messageMaxChars=10)
        turn = self.open("x" * 25)
        close(turn, Outcome(state=TurnState.DONE, reply="y", said=[said("y")]))
        self.assertEqual(self.contents(), ["x" * 10, "x" * 10, "x" * 5, "y"])
        self.assertEqual(list(HonchoWrite.objects.order_by("seq").values_list("part", flat=True)), [0, 1, 2, 3])

    def test_in_a_thread_that_is_shared_each_speaks_under_their_own_name(self) -> None:
        place = {"chat_id": "g", "chat_type": ChatType.GROUP, "thread_id": "t"}
        for user in ("ann", "bob"):
            pipeline.inbox.accept([pipeline.event(f"from {user}", user=user, **place)])
            self.answer(user, **place)
        key = pipeline.context("ann", **place).honcho_session_key
        self.assertEqual(key, pipeline.context("bob", **place).honcho_session_key)
        rows = list(HonchoWrite.objects.filter(role="user").order_by("seq").values_list("content", "peer"))
        peers = [names.peer_name(pipeline.context(user, **place), HonchoConfig()) for user in ("ann", "bob")]
        self.assertEqual(rows, [("from ann", peers[0]), ("from bob", peers[1])])
        self.assertEqual(len(set(peers)), 2)

    def test_a_turn_that_does_not_commit_puts_nothing_down(self) -> None:
        turn = self.open("hello")
        Lane.objects.filter(pk=turn.claim.lane_id).update(lease_until=None, fence=turn.claim.fence + 1)
        with self.assertRaises(lanes.LaneLost):
            close(turn, Outcome(state=TurnState.DONE, reply="x", said=[said("x")]))
        self.assertFalse(HonchoWrite.objects.exists())
        self.rung.assert_not_called()


class FrequencyTests(LedgerCase):
    def waking(self) -> bool:
        return Lane.objects.get(kind=LaneKind.HONCHO).wake_at is not None

    def test_async_and_turn_ring_once_the_turn_has_committed(self) -> None:
        for frequency in ("async", "turn"):
            with self.subTest(frequency=frequency):
                self.rung.reset_mock()
                self.use(writeFrequency=frequency)
                self.say("hello")
                self.rung.assert_called_once_with([self.key()])
                self.assertTrue(self.waking())

    def test_session_waits_for_the_sessions_end(self) -> None:
        self.use(writeFrequency="session")
        self.say("one", "two")
        self.assertFalse(self.waking())
        self.rung.assert_not_called()
        ledger.release(honcho_session_key=self.key())
        self.assertTrue(self.waking())
        self.rung.assert_called_once_with([self.key()])

    def test_a_number_waits_for_so_many_turns(self) -> None:
        self.use(writeFrequency=3)
        self.say("one", "two")
        self.assertFalse(self.waking())
        self.say("three")
        self.assertTrue(self.waking())
        self.write()
        self.assertEqual(len(self.stored()), 6)
        self.say("four")
        self.assertFalse(self.waking())

    def test_what_waits_for_another_attempt_still_does_where_more_is_put_down(self) -> None:
        self.use(writeFrequency="session")
        self.say("one")
        Lane.objects.filter(kind=LaneKind.HONCHO).update(wake_at=timezone.now() + timezone.timedelta(minutes=1))
        self.say("two")
        self.assertTrue(self.waking())

    def test_nothing_is_rung_for_where_nothing_waits(self) -> None:
        ledger.release(honcho_session_key=self.key())
        self.say("hello")
        self.write()
        self.rung.reset_mock()
        ledger.release(honcho_session_key=self.key())
        self.rung.assert_not_called()
        self.assertTrue(ledger.is_drained(honcho_session_key=self.key()))


class PartTests(SimpleTestCase):
    def test_no_part_is_only_white_space(self) -> None:
        self.assertEqual(list(ledger._parts("ab" + " " * 6 + "cd", most=4)), ["ab  ", "cd"])
        self.assertEqual(list(ledger._parts(" \n", most=4)), [])

    def test_what_no_database_takes_is_left_out(self) -> None:
        self.assertEqual(list(ledger._parts("a\0b\ud83d", most=10)), ["ab\ufffd"])


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}
