"""`/stop` before, during and after a turn: it never waits, and says only what has committed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from unittest import mock

from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from gateway_app import inbox
from gateway_app.agent.ai_agent import AIAgent
from gateway_app.agent.interruption import MARK
from gateway_app.agent.registry import Registry, Tool
from gateway_app.commands import registry
from gateway_app.commands.base import Command
from gateway_app.models import InboundMessage, MemoryFlush, OutboundPart, Session, Turn, TurnStep
from gateway_app.models.turn import TurnState
from gateway_app.turns import closing, opening, runner, stopping
from gateway_app.turns.stop_watch import StopWatch
from gateway_app.worker.database import in_database
from tests import pipeline
from tests.busy_case import SLOW, THREAD, BusyTestCase
from tests.configuration import configured
from tests.pipeline_case import Killed, expire_leases
from tests.test_lanes import at_once

NOTHING = "There is nothing to stop: I am not working on anything here."


class DuringTests(BusyTestCase):
    def test_it_stops_the_model_call_and_the_session_goes_on(self) -> None:
        self.model.script.add(times=1, delay=SLOW)
        pipeline.accept("one")
        self.answer_while(lambda: pipeline.accept("/stop"))
        self.assertEqual((self.notices(), self.platform.texts), (["I stop."], []))
        turn = Turn.objects.get()
        self.assertEqual((turn.state, turn.stop, turn.stop_by), ("stopped", "stopped", "ann"))
        self.assert_clean()
        pipeline.accept("two")
        self.answer()
        self.deliver()
        self.assertEqual(self.platform.texts, ["I stop.", "echo: two"])
        self.assertEqual(self.roles(), ["user", "assistant"] * 2)
        self.assertEqual(Turn.objects.values_list("session_id").distinct().count(), 1)
        self.assert_clean()
        self.assert_lanes_are_free()

    def test_status_says_what_goes_on_while_it_does(self) -> None:
        self.model.script.add(times=1, delay=SLOW)
        pipeline.accept("one")
        self.answer_while(lambda: pipeline.accept("two", "/status", "/stop"))
        self.assertIn("- Running: yes; 1 waiting\n", self.notices()[0])
        self.assertEqual((self.notices()[1:], self.echoes()), (["I stop."], ["echo: two"]))
        self.assert_clean()

    def test_it_stops_a_tool(self) -> None:
        self.use_tool(self.hang)
        pipeline.accept("call:work {}")
        self.answer_while(lambda: pipeline.accept("/stop"), at_tool=True)
        self.assertEqual(self.roles(), ["user", "assistant", "tool", "assistant"])
        kinds = TurnStep.objects.order_by("position").values_list("kind", flat=True)
        self.assertEqual(list(kinds), ["model_reply", "tool_started", "tool_result", "model_reply"])
        self.assert_clean()

    def test_of_tools_that_run_at_once_what_has_ended_is_kept(self) -> None:
        async def quick(args: dict[str, Any], **kwargs: Any) -> str:
            return "done"

        tools = [
            Tool(name, "Reads.", {"type": "object"}, handler, is_repeatable=True, is_parallel=True)
            for name, handler in (("hang", self.hang), ("quick", quick))
        ]
        self.enterContext(mock.patch.object(runner, "tool_registry", lambda context: Registry(tools)))
        wanted = tuple({"name": name, "arguments": "{}"} for name in ("quick", "hang", "quick"))
        self.model.script.add(times=1, tool_calls=wanted)
        pipeline.accept("one")
        self.answer_while(lambda: pipeline.accept("/stop"), at_tool=True)
        results = [content for role, content in self.said() if role == "tool"]
        self.assertEqual((results[0], results[2]), ("done", "done"))
        self.assertIn("interrupted before it was run to its end", results[1])
        self.assertGreater(Turn.objects.get().prompt_tokens, 0)
        self.assert_clean()

    def test_it_stops_between_two_steps(self) -> None:
        self.use_tool(self.hang)
        pipeline.accept("call:work {}")
        original, more = AIAgent._invoke_tool, ["/stop"]

        async def after(agent: AIAgent, *args: Any, **kwargs: Any) -> Any:
            if more:
                await in_database(pipeline.accept, more.pop())
            return await original(agent, *args, **kwargs)

        with mock.patch.object(AIAgent, "_invoke_tool", after):
            self.answer_while()
        self.assertEqual(self.turn_states(), ["stopped"])
        self.assertEqual(self.model.stats["calls"], 1)
        self.assert_clean()

    def test_a_step_that_is_being_journaled_is_known_before_the_turn_ends(self) -> None:
        # Seen to fail without the shield in runner._to_its_end().
        written: list[str] = []

        async def record() -> None:
            await asyncio.sleep(0.1)
            written.append("step")

        async def stop_meanwhile() -> None:
            task = asyncio.create_task(runner._to_its_end(record()))
            await asyncio.sleep(0.01)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(written, ["step"])

        pipeline.run(stop_meanwhile())

    def test_it_stops_a_command(self) -> None:
        found = registry.Registry([*registry.shipped().commands, Command(name="wait", summary="waits.", run=self.hang)])
        with mock.patch.object(registry, "shipped", lambda: found):
            pipeline.accept("/wait")
            self.answer_while(lambda: pipeline.accept("/stop"), at_tool=True)
        self.assertEqual((self.notices(), self.platform.texts), (["I stop."], []))
        self.assert_clean()

    def test_what_waits_is_answered_after_the_stop(self) -> None:
        self.model.script.add(times=1, delay=SLOW)
        pipeline.accept("one")
        self.answer_while(lambda: pipeline.accept("two", "/stop"))
        self.assertEqual(self.echoes(), ["echo: two"])
        self.assertEqual(self.turn_states(), ["stopped", "done"])
        self.assert_clean()

    def test_in_a_shared_thread_another_person_may_stop_it(self) -> None:
        self.model.script.add(times=1, delay=SLOW)
        inbox.accept([pipeline.event("one", **THREAD)])
        self.answer_while(lambda: inbox.accept([pipeline.event("/stop", user="bob", **THREAD)]), **THREAD)
        self.assertEqual((self.notices(), Turn.objects.get().stop_by), (["I stop."], "bob"))

    def test_twice_stops_once_and_says_so(self) -> None:
        pipeline.accept("one")
        opening.claim_and_open(session_key=pipeline.context().session_key)
        pipeline.accept("/stop")
        pipeline.accept("/stop")
        self.assertEqual(self.notices(), ["I stop.", "I am stopping already."])

    def test_an_answer_that_was_on_its_way_is_not_given_after_the_stop(self) -> None:
        # Seen to fail without StopAsked in closing.close().
        pipeline.accept("one")
        real, more = closing.close, ["/stop"]

        def close(*args: Any) -> Any:
            if more:
                pipeline.accept(more.pop())
            return real(*args)

        with mock.patch.object(runner, "close", close):
            self.answer()
        self.assertEqual((self.notices(), self.platform.texts), (["I stop."], []))
        self.assertEqual(self.said(), [("user", "one"), ("assistant", f"echo: one\n\n{MARK}")])
        self.assert_clean()

    def test_what_a_command_was_about_to_change_is_not_changed_after_the_stop(self) -> None:
        pipeline.accept("one")
        self.answer()
        pipeline.accept("/new")
        real, more = closing.close, ["/stop"]

        def close(*args: Any) -> Any:
            if more:
                pipeline.accept(more.pop())
            return real(*args)

        with mock.patch.object(runner, "close", close):
            self.answer()
        self.assertEqual((self.notices(), self.platform.texts), (["I stop."], ["echo: one"]))
        self.assertEqual((Session.objects.count(), MemoryFlush.objects.count()), (1, 0))
        self.assertEqual(self.turn_states(), ["done", "stopped"])
        self.assert_clean()
        self.assert_lanes_are_free()

    def test_whoever_is_told_that_it_stops_gets_no_answer_whatever_the_timing(self) -> None:
        for number in range(20):
            pipeline.accept("one")
            turn = opening.claim_and_open(session_key=pipeline.context().session_key)
            assert turn
            answers: list[bool] = []

            def close(turn: opening.OpenTurn = turn, answers: list[bool] = answers) -> None:
                try:
                    closing.close(turn, closing.Outcome(state=TurnState.DONE, reply="whole"))
                    answers.append(True)
                except closing.StopAsked:
                    closing.close(turn, closing.Outcome(state=TurnState.STOPPED, reply=""))

            at_once(close, lambda: pipeline.accept("/stop"))
            with self.subTest(number):
                self.assertEqual(len(answers), self.notices()[number] == NOTHING)
                self.assertEqual(OutboundPart.objects.filter(turn_id=turn.turn_id).count(), len(answers))

    def test_a_worker_that_dies_after_the_stop_was_asked_for_leaves_it_to_the_next(self) -> None:
        async def die(args: dict[str, Any], **kwargs: Any) -> str:
            raise Killed

        self.use_tool(die)
        self.model.script.add(times=1, tool_calls=({"name": "work", "arguments": "{}"},) * 2)
        pipeline.accept("one")
        with self.assertRaises(Killed):
            self.answer()
        pipeline.accept("/stop")
        expire_leases()
        self.answer()
        self.assertEqual(self.model.stats["calls"], 1)
        self.assertEqual((self.turn_states(), self.notices(), self.platform.texts), (["stopped"], ["I stop."], []))
        self.assertEqual(self.roles(), ["user", "assistant", "tool", "tool", "assistant"])
        self.assert_clean()


class LookTests(BusyTestCase):
    def test_the_look_for_turns_to_stop_reads_an_index_that_holds_no_others(self) -> None:
        explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
        with CaptureQueriesContext(connection) as queries:
            stopping.asked()
        (look,) = [query["sql"] for query in queries if "stop" in query["sql"]]
        with transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL enable_seqscan = off")  # of an empty table it would rather read all
                look = look.partition(" AS ")[2].partition(";")[0] or look
            cursor.execute(f"{explain} {look}")
            self.assertIn("turn_to_stop", str(cursor.fetchall()))

    def test_it_is_one_statement_however_many_turns_there_are(self) -> None:
        for number in range(5):
            pipeline.accept("one", user=f"user{number}")
            opening.claim_and_open(session_key=pipeline.context(f"user{number}").session_key)
            pipeline.accept("/stop", user=f"user{number}")
        with CaptureQueriesContext(connection) as queries:
            self.assertEqual(len(stopping.asked()), 5)
        self.assertEqual(len(queries), 1)

    async def test_a_run_that_lost_its_turn_leaves_the_watch_over_the_same_turns_next_run_alone(self) -> None:
        def run() -> Any:
            return mock.Mock(spec=opening.OpenTurn, turn_id=1)

        watch = StopWatch()
        lost, again = watch.watching(run(), mock.Mock()), watch.watching(run(), mock.Mock())
        with contextlib.ExitStack() as ending:
            ending.enter_context(lost)
            with again:
                ending.close()
                self.assertEqual(len(watch._watched), 1)
        self.assertEqual(len(watch._watched), 0)


class BeforeAndAfterTests(BusyTestCase):
    def test_before_a_turn_has_begun_it_does_not_begin(self) -> None:
        pipeline.accept("one", "/stop", "two")
        self.answer()
        self.assertEqual(self.notices(), ["I stop. I had not begun yet, so your message is left unanswered."])
        self.assertEqual(self.echoes(), ["echo: two"])
        self.assertEqual(InboundMessage.objects.order_by("seq")[0].reason, stopping.WITHDRAWN)
        self.assert_clean()

    def test_after_a_turn_it_says_that_nothing_runs(self) -> None:
        pipeline.accept("one")
        self.answer()
        accepted = pipeline.accept("/stop")
        self.assertEqual(self.notices(), [NOTHING])
        self.assertEqual((accepted.rings, len(accepted.chats)), ([], 1))
        self.assertEqual(pipeline.inbound_states(), ["done", "done"])
        self.deliver()
        self.assertEqual(self.platform.texts, ["echo: one", NOTHING])
        self.assertEqual(self.platform.sent[-1].reply_to, InboundMessage.objects.order_by("-seq")[0].message_id)

    def test_the_same_event_twice_is_answered_once(self) -> None:
        event = pipeline.event("/stop")
        for _ in range(2):
            inbox.accept([event])
        self.assertEqual(self.notices(), [NOTHING])

    @override_settings(LANE_MAX_DEPTH=1)
    def test_a_full_session_can_be_stopped(self) -> None:
        pipeline.accept("one", "two")
        opening.claim_and_open(session_key=pipeline.context().session_key)
        pipeline.accept("/stop " + "x" * 10_000)
        self.assertEqual(self.notices()[-1], "I stop.")


class AccessTests(BusyTestCase):
    def setUp(self) -> None:
        super().setUp()
        pipeline.accept("one")
        opening.claim_and_open(session_key=pipeline.context().session_key)

    def test_who_may_not_run_a_control_command_changes_nothing_with_it(self) -> None:
        with configured(access={"platforms": {"recording": {"allow_admin_from": ["boss"]}}}):
            pipeline.accept("/stop", "/queue two", "/steer three")
        self.assertEqual(stopping.asked(), {})
        self.assertEqual([text.split(" is ")[0] for text in self.notices()], ["⛔ /stop", "⛔ /queue", "⛔ /steer"])
        self.assertEqual(pipeline.inbound_states(), ["running", "done", "done", "done"])

    def test_who_may_not_speak_stops_nothing(self) -> None:
        with configured(access={"platforms": {"recording": {"allow_all_users": False}}}):
            pipeline.accept("/stop")
        self.assertEqual((stopping.asked(), self.notices()), ({}, []))

    def test_a_stop_reaches_no_other_chat(self) -> None:
        for values in ({"user": "bob"}, {"chat_id": "other"}, THREAD):
            inbox.accept([pipeline.event("/stop", **values)])
        self.assertEqual((stopping.asked(), self.notices()), ({}, [NOTHING] * 3))
