"""What becomes of messages that come while a turn runs, in each mode, through the real pipeline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

from django.test import override_settings

from gateway_app import inbox
from gateway_app.agent.interruption import MARK
from gateway_app.models import InboundMessage, OutboundPart, TranscriptMessage, Turn, TurnStep
from gateway_app.models.inbox import BusyMode
from gateway_app.models.turn import TurnState
from gateway_app.turns import closing, notices, opening, presence, runner, stopping
from gateway_app.worker.database import in_database
from tests import pipeline
from tests.busy_case import SLOW, SOON, THREAD, BusyTestCase, busy
from tests.configuration import configured
from tests.pipeline_case import expire_leases


class QueueTests(BusyTestCase):
    def test_each_message_is_a_turn_by_itself(self) -> None:
        with busy("queue"):
            pipeline.accept("one", "two", "three")
            self.answer()
        self.assertEqual(self.platform.texts, ["echo: one", "echo: two", "echo: three"])
        self.assert_clean()
        self.assert_lanes_are_free()

    def test_the_mode_of_a_chat_goes_before_its_platforms_and_that_before_all_others(self) -> None:
        with configured(display={"busy_input_mode": "steer", "platforms": {"recording": {"busy_mode": "queue"}}}):
            pipeline.accept("one")
            with configured(display={"platforms": {"recording": {"busy_modes": ["chat-ann=interrupt"]}}}):
                pipeline.accept("two")
                pipeline.accept("three", user="bob")
        with busy("steer"):
            pipeline.accept("four")
        modes = InboundMessage.objects.order_by("id").values_list("busy_mode", flat=True)
        self.assertEqual(list(modes), ["queue", "interrupt", "queue", "steer"])

    def test_a_message_that_was_queued_by_command_stands_alone_between_others(self) -> None:
        pipeline.accept("one", "two", "/queue three", "four", "five")
        self.answer()
        self.assertEqual(self.echoes(), ["echo: one\n\ntwo", "echo: three", "echo: four\n\nfive"])
        self.assertEqual(self.notices(), ["Queued. I answer it by itself, after what came before it."])
        self.assert_clean()

    def test_a_command_may_be_queued_and_a_queue_without_a_message_says_what_is_missing(self) -> None:
        pipeline.accept("one", "/queue /whoami", "/q", "/queue /stop")
        self.answer()
        self.assertEqual(self.notices()[1].split("?")[0], "What shall I queue")
        texts = [part.text for part in OutboundPart.objects.exclude(turn=None).order_by("seq")]
        self.assertEqual(texts[0], "echo: one")
        self.assertIn("Platform: `recording`", texts[1])
        self.assertIn("nothing to stop", texts[2])


class SteerTests(BusyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.during: list[Callable[[], object]] = []
        self.use_tool(self.work)

    async def work(self, args: dict[str, Any], **kwargs: Any) -> str:
        if self.during:
            await in_database(self.during.pop(0))
        return "worked"

    def test_what_comes_joins_the_running_turn_at_its_next_step(self) -> None:
        self.during = [lambda: pipeline.accept("use metres", "and centimetres")]
        with busy("steer"):
            pipeline.accept("call:work {}")
            self.answer()
        self.assertEqual(Turn.objects.count(), 1)
        self.assertEqual(pipeline.inbound_states(), ["done"] * 3)
        messages = self.model.requests[-1]["body"]["messages"]
        self.assertEqual([message["role"] for message in messages[1:]], ["user", "assistant", "tool", "user"])
        self.assertEqual(messages[-1]["content"], "use metres\n\nand centimetres")
        self.assertEqual(self.platform.texts, ["echo: use metres\n\nand centimetres"])
        self.assertEqual(self.roles(), ["user", "assistant", "tool", "user", "assistant"])
        self.assertEqual(self.platform.sent[0].reply_to, InboundMessage.objects.order_by("-seq")[0].message_id)
        self.assert_clean()
        self.assert_lanes_are_free()

    def test_steer_as_a_command_works_in_every_mode_and_passes_what_waits(self) -> None:
        self.during = [lambda: pipeline.accept("later", "/steer now")]
        pipeline.accept("call:work {}")
        self.answer()
        self.assertEqual(self.echoes(), ["echo: now", "echo: later"])
        self.assertEqual(self.notices(), ["Noted. I take it into account at my next step, or answer it next."])
        self.assert_clean()

    def test_what_joined_is_taken_back_and_asked_again_with_what_it_joined(self) -> None:
        self.during = [lambda: pipeline.accept("use metres")]
        with busy("steer"):
            pipeline.accept("one")
            self.answer()
            pipeline.accept("call:work {}")
            self.answer()
        pipeline.accept("/undo")
        self.answer()
        self.assertIn("from “call:work {}” on", self.platform.texts[-1])
        self.assertEqual(TranscriptMessage.objects.filter(undo=None).count(), 2)
        pipeline.accept("/redo", "/retry")
        self.answer()
        self.assertEqual(self.model.requests[-1]["body"]["messages"][3]["content"], "call:work {}\n\nuse metres")
        self.assert_clean()

    def test_what_comes_when_no_step_is_left_is_the_next_turn(self) -> None:
        self.model.script.add(times=1, delay=0.3)
        with busy("steer"):
            pipeline.accept("one")
            self.answer_while(lambda: pipeline.accept("two"))
        self.assertEqual(self.platform.texts, ["echo: one", "echo: two"])
        self.assert_clean()

    def test_another_persons_message_never_joins(self) -> None:
        self.during = [lambda: inbox.accept([pipeline.event("mine", user="bob", **THREAD)])]
        with busy("steer"):
            inbox.accept([pipeline.event("call:work {}", **THREAD)])
            self.answer(**THREAD)
        self.assertEqual(self.platform.texts, ["tool said: worked", "echo: [Bob] mine"])
        self.assertEqual(self.turn_states(), ["done", "done"])

    def test_a_worker_that_takes_the_turn_over_sees_the_same(self) -> None:
        self.during = [lambda: pipeline.accept("use metres")]
        self.model.script.add(times=1, tool_calls=({"name": "work", "arguments": "{}"},) * 2)
        with busy("steer"):
            pipeline.accept("one")
            with (
                mock.patch.object(runner, "close", side_effect=asyncio.CancelledError),
                mock.patch.object(runner, "give_up_early"),
                self.assertRaises(asyncio.CancelledError),
            ):
                self.answer()
            seen = self.model.requests[-1]["body"]["messages"]
            expire_leases()
            self.answer()
        self.assertEqual(self.model.requests[-1]["body"]["messages"], seen)
        self.assertEqual(TurnStep.objects.filter(kind="steered").count(), 1)
        self.assertEqual(self.platform.texts, ["echo: use metres"])
        self.assert_clean()

    @override_settings(TURN_MAX_STEPS=1)
    def test_a_turn_that_sums_up_is_joined_by_nothing_which_is_answered_next(self) -> None:
        self.during = [lambda: pipeline.accept("use metres")]
        with busy("steer"):
            pipeline.accept("call:work {}")
            self.answer()
        self.assertEqual(self.model.stats["calls"], 3)
        self.assertEqual(self.turn_states(), ["done", "done"])
        self.assertEqual(self.platform.texts[1], "echo: use metres")
        self.assert_clean()

    def test_a_turn_that_nobody_writes_to_takes_no_look(self) -> None:
        pipeline.accept("call:work {}")
        with mock.patch.object(runner.steering, "take", side_effect=AssertionError("looked")):
            self.answer()
        self.assertEqual(self.platform.texts, ["tool said: worked"])


class InterruptTests(BusyTestCase):
    def test_what_comes_stops_the_turn_and_is_answered_next(self) -> None:
        self.model.script.add(times=1, delay=SLOW)
        with busy("interrupt"):
            pipeline.accept("one")
            self.answer_while(lambda: pipeline.accept("two"))
        self.assertEqual(self.platform.texts, ["echo: two"])
        self.assertEqual(self.turn_states(), ["stopped", "done"])
        self.assertEqual(
            self.said(), [("user", "one"), ("assistant", MARK), ("user", "two"), ("assistant", "echo: two")]
        )
        self.assertEqual(pipeline.inbound_states(), ["done", "done"])
        self.assert_clean()
        self.assert_lanes_are_free()

    def test_a_streamed_answer_is_stopped_in_its_middle_and_what_was_said_is_kept(self) -> None:
        shown: list[str] = []

        async def stream(context: Any, *, turn_id: int, text: str) -> None:
            shown.append(text)

        self.enterContext(mock.patch.object(self.platform, "is_streamed", True, create=True))
        self.enterContext(mock.patch.object(self.platform, "stream", stream))
        self.model.script.add(times=1, answer="A long story. " * 100, piece_delay=0.2)

        def interrupt() -> None:
            deadline = time.monotonic() + SOON
            while not shown and time.monotonic() < deadline:
                time.sleep(0.01)
            pipeline.accept("two")

        with busy("interrupt"):
            pipeline.accept("one")
            self.answer_while(interrupt)
        kept = self.said()[1][1]
        self.assertTrue(kept.startswith("A long"), kept)
        self.assertTrue(kept.endswith(MARK), kept)
        self.assertTrue(self.platform.texts[0].endswith("*(stopped here)*"), self.platform.texts)
        self.assertEqual(self.platform.texts[1], "echo: two")
        self.assert_clean()

    def test_a_tool_that_runs_is_stopped_and_every_call_has_a_result(self) -> None:
        self.use_tool(self.hang)
        self.model.script.add(times=1, tool_calls=({"name": "work", "arguments": "{}"},) * 3)
        with busy("interrupt"):
            pipeline.accept("one")
            self.answer_while(lambda: pipeline.accept("two"), at_tool=True)
        self.assertEqual(self.roles(), ["user", "assistant", "tool", "tool", "tool", "assistant", "user", "assistant"])
        results = [content for role, content in self.said() if role == "tool"]
        self.assertIn("whether it took effect is unknown", results[0])
        self.assertIn("interrupted before it was run", results[1])
        self.assertEqual(self.platform.texts, ["echo: two"])
        self.assert_clean()

    def test_the_fourth_in_a_row_waits(self) -> None:
        self.model.script.add(times=3, delay=SLOW)
        self.model.script.add(times=1, delay=1.5)
        messages = [f"m{number}" for number in range(1, 5)]
        with busy("interrupt"):
            pipeline.accept("m0")
            self.answer_while(*[lambda text=text: pipeline.accept(text) for text in messages])  # type: ignore[misc]
        self.assertEqual(self.platform.texts, ["echo: m3", "echo: m4"])
        self.assertEqual(self.turn_states(), ["stopped"] * 3 + ["done"] * 2)
        self.assertEqual(list(Turn.objects.order_by("id").values_list("interrupts", flat=True)), [0, 1, 2, 3, 0])
        self.assert_clean()

    def test_another_persons_message_waits_its_turn(self) -> None:
        self.model.script.add(times=1, delay=1.0)
        with busy("interrupt"):
            inbox.accept([pipeline.event("one", **THREAD)])
            self.answer_while(lambda: inbox.accept([pipeline.event("two", user="bob", **THREAD)]), **THREAD)
        self.assertEqual(self.platform.texts, ["echo: [Ann] one", "echo: [Bob] two"])

    def test_an_event_that_comes_again_interrupts_nothing(self) -> None:
        with busy("interrupt"):
            event = pipeline.event("one")
            inbox.accept([event])
            turn = opening.claim_and_open(session_key=pipeline.context().session_key)
            assert turn
            inbox.accept([event])
            self.assertEqual(stopping.asked(), {})
            pipeline.accept("two")
            self.assertEqual(list(stopping.asked()), [turn.turn_id])

    def test_an_answer_that_is_whole_by_then_is_given(self) -> None:
        with busy("interrupt"):
            pipeline.accept("one")
            turn = opening.claim_and_open(session_key=pipeline.context().session_key)
            assert turn
            pipeline.accept("two")
            closed = closing.close(turn, closing.Outcome(state=TurnState.DONE, reply="whole"))
        self.assertEqual(OutboundPart.objects.get().text, "whole")
        assert closed.following
        self.assertEqual((closed.following.asked, closed.following.interrupts), ("two", 0))

    def test_the_worker_that_takes_an_interrupted_turn_over_does_not_go_on_with_it(self) -> None:
        with busy("interrupt"):
            pipeline.accept("one")
            opening.claim_and_open(session_key=pipeline.context().session_key)
            pipeline.accept("two")
        expire_leases()
        self.answer()
        self.assertEqual(self.platform.texts, ["echo: two"])
        self.assertEqual(self.model.stats["calls"], 1)
        self.assert_clean()

    def test_a_command_neither_interrupts_nor_is_interrupted(self) -> None:
        with busy("interrupt"):
            pipeline.accept("one")
            opening.claim_and_open(session_key=pipeline.context().session_key)
            pipeline.accept("/whoami")
            self.assertEqual(stopping.asked(), {})
            self.assertEqual(InboundMessage.objects.order_by("-seq")[0].busy_mode, BusyMode.COLLECT)
            expire_leases()
            self.answer()
            pipeline.accept("/whoami")
            opening.claim_and_open(session_key=pipeline.context().session_key)
            pipeline.accept("two")
            expire_leases()
            self.answer()
        self.assertEqual(self.turn_states(), ["done"] * 4)


class StillWorkingTests(BusyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(presence, "TYPING_AFTER_SECONDS", 0.1))
        self.enterContext(mock.patch.object(presence, "TYPING_EVERY_SECONDS", 0.3))

    def test_a_turn_that_takes_long_says_so_and_its_answer_comes_after_that(self) -> None:
        self.model.script.add(times=1, delay=1.2)
        pipeline.accept("one")
        with configured(display={"notify_seconds": 0.1}):
            self.answer_while()
        self.deliver()
        self.assertEqual(self.platform.texts[0], "I am still working on it.")
        self.assertEqual(self.platform.texts[-1], "echo: one")
        self.assertGreaterEqual(len(self.platform.texts), 3)

    def test_it_is_not_said_of_a_turn_that_has_ended_while_the_next_one_runs(self) -> None:
        pipeline.accept("one", "/queue two")
        turn = opening.claim_and_open(session_key=pipeline.context().session_key)
        assert turn
        closing.close(turn, closing.Outcome(state=TurnState.DONE, reply="answer"))
        notices.still_working(turn, number=1, minutes=3)
        self.assertFalse(OutboundPart.objects.filter(text__contains="still working").exists())

    def test_it_is_never_said_where_the_interval_is_nought(self) -> None:
        self.model.script.add(times=1, delay=0.8)
        pipeline.accept("one")
        with configured(display={"notify_seconds": 0}):
            self.answer_while()
        self.assertEqual(self.platform.texts, ["echo: one"])
