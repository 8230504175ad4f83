"""Turns: one message's road from the inbox to the platform, and what crashes on it leave behind."""

from __future__ import annotations

import asyncio
import functools
from unittest import mock

from django.db import OperationalError, transaction
from django.db.models import F
from django.test import override_settings

from gateway_app import inbox, lanes
from gateway_app.agent.ai_agent import AIAgent
from gateway_app.agent.registry import Registry, Tool
from gateway_app.models import Lane, OutboundPart, TranscriptMessage, Turn, TurnStep
from gateway_app.models.lane import LaneKind
from gateway_app.models.turn import StepKind, TurnState
from gateway_app.sessions.source import ChatType, SessionContext
from gateway_app.turns import closing, journal, opening, presence, runner
from gateway_app.turns.runner import run_session
from gateway_app.worker import database
from gateway_app.worker.database import in_database
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline
from tests.configuration import configured
from tests.pipeline_case import Killed, PipelineTestCase, expire_leases


class AnsweredTurnTests(PipelineTestCase):
    def test_a_message_is_answered_and_everything_about_it_is_kept(self) -> None:
        pipeline.accept("hello")
        self.answer()
        self.assertEqual(self.platform.texts, ["echo: hello"])
        self.assertEqual(pipeline.inbound_states(), ["done"])
        self.assertEqual(pipeline.outbound_states(), ["sent"])
        said = list(TranscriptMessage.objects.order_by("id").values_list("role", "content"))
        self.assertEqual(said, [("user", "hello"), ("assistant", "echo: hello")])
        turn = Turn.objects.get()
        self.assertEqual((turn.state, turn.attempts), ("done", 1))
        self.assertGreater(turn.prompt_tokens, 0)
        self.assertEqual(lanes.due(limit=10), [])

    def test_the_next_turn_knows_what_was_said(self) -> None:
        for text in ("one", "two"):
            pipeline.accept(text)
            self.answer()
        messages = self.model.requests[-1]["body"]["messages"]
        self.assertEqual([message["content"] for message in messages[1:]], ["one", "echo: one", "two"])

    @configured(compression={"enabled": False})
    @override_settings(MODEL_CONTEXT_TOKENS=768, MODEL_MAX_OUTPUT_TOKENS=16, MODEL_TOOLS=False)
    def test_history_beyond_the_token_budget_is_left_out_oldest_first(self) -> None:
        for number in range(6):
            pipeline.accept(f"{number} " + "word " * 60)
            self.answer()
        history = self.model.requests[-1]["body"]["messages"][1:-1]
        self.assertEqual([message["role"] for message in history], ["user", "assistant"] * (len(history) // 2))
        self.assertLess(len(history), 10)
        self.assertTrue(history[-2]["content"].startswith("4 "))

    def test_all_that_waits_is_answered_as_one(self) -> None:
        pipeline.accept("one", "two", "three")
        self.answer()
        self.assertEqual(self.platform.texts, ["echo: one\n\ntwo\n\nthree"])
        self.assertEqual(pipeline.inbound_states(), ["done"] * 3)

    def test_messages_that_come_while_a_turn_runs_are_answered_next_by_the_same_worker(self) -> None:
        pipeline.accept("one")
        original = AIAgent.run_conversation
        more = [("two", "three")]

        async def and_two_more(agent: AIAgent, *args: object, **kwargs: object) -> object:
            if more:
                await in_database(pipeline.accept, *more.pop())
            return await original(agent, *args, **kwargs)

        with mock.patch.object(AIAgent, "run_conversation", and_two_more):
            self.answer()
        self.assertEqual(self.platform.texts, ["echo: one", "echo: two\n\nthree"])

    def test_one_persons_request_in_a_shared_thread_never_runs_as_anothers(self) -> None:
        place = {"chat_id": "g", "chat_type": ChatType.GROUP, "thread_id": "t"}
        inbox.accept([pipeline.event(text, user=text[:3], **place) for text in ("ann 1", "ann 2", "bob 1", "ann 3")])
        self.answer(**place)
        self.assertEqual(
            self.platform.texts, ["echo: [Ann] ann 1\n\n[Ann] ann 2", "echo: [Bob] bob 1", "echo: [Ann] ann 3"]
        )
        users = TranscriptMessage.objects.filter(role="user").order_by("id").values_list("user_id", flat=True)
        self.assertEqual(list(users), ["ann", "bob", "ann"])

    def test_a_long_reply_is_sent_in_parts_in_order(self) -> None:
        self.model.script.add(answer="x" * 1500 + "y" * 1000)
        pipeline.accept("go")
        self.answer()
        self.assertEqual([len(text) for text in self.platform.texts], [1000, 1000, 500])

    def test_two_workers_at_once_answer_once(self) -> None:
        pipeline.accept("hello")

        async def ring_twice() -> None:
            await asyncio.gather(*[run_session(pipeline.context(), http=http_session()) for _ in range(5)])
            await close_http_session()

        pipeline.run(ring_twice())
        self.assertEqual(self.platform.texts, ["echo: hello"])
        self.assertEqual(self.model.stats["calls"], 1)

    def test_one_task_answers_several_sessions_and_one_that_fails_stops_no_other(self) -> None:
        for user in ("ann", "bob", "cy"):
            pipeline.accept("hello", user=user)
        claim = runner.claim_and_open

        def fail_for_bob(*, session_key: str) -> object:
            if "bob" in session_key:
                raise ZeroDivisionError
            return claim(session_key=session_key)

        async def ring() -> None:
            contexts = [pipeline.context(user) for user in ("ann", "bob", "cy")]
            try:
                await runner.run_sessions(contexts, http=http_session())
            finally:
                await close_http_session()

        with mock.patch.object(runner, "claim_and_open", fail_for_bob), self.assertRaises(ZeroDivisionError):
            pipeline.run(ring())
        self.assertEqual({part.chat_id for part in self.platform.sent}, {"chat-ann", "chat-cy"})

    @override_settings(TYPING_PER_SECOND=2)
    def test_a_turn_that_takes_a_while_shows_typing_but_a_rush_of_them_does_not(self) -> None:
        users = ["ann", "bob", "cy", "di"]
        self.model.script.add(times=4, delay=0.3)
        for user in users:
            pipeline.accept("hello", user=user)
        shown: list[str] = []

        async def show_typing(context: SessionContext, *, http: object) -> None:
            shown.append(context.user_id)

        async def ring() -> None:
            await runner.run_sessions([pipeline.context(user) for user in users], http=http_session())
            await close_http_session()

        with (
            mock.patch.object(self.platform, "show_typing", show_typing),
            mock.patch.object(presence, "TYPING_AFTER_SECONDS", 0.1),
            mock.patch.object(presence, "time", mock.Mock(monotonic=lambda: 1000.5)),
        ):
            pipeline.run(ring())
        self.assertEqual(len(shown), 2)


class ToolTurnTests(PipelineTestCase):
    def test_a_tool_call_is_journaled_and_answered(self) -> None:
        pipeline.accept('call:current_time {"timezone": "Asia/Tokyo"}')
        self.answer()
        self.assertIn("Asia/Tokyo", self.platform.texts[0])
        kinds = list(TurnStep.objects.order_by("position").values_list("kind", flat=True))
        self.assertEqual(kinds, ["model_reply", "tool_result", "model_reply"])
        roles = list(TranscriptMessage.objects.order_by("id").values_list("role", flat=True))
        self.assertEqual(roles, ["user", "assistant", "tool", "assistant"])

    def test_a_search_finds_only_the_own_session(self) -> None:
        for user in ("ann", "bob"):
            pipeline.accept(f"the secret of {user} is swordfish", user=user)
            self.answer(user)
        pipeline.accept('call:session_search {"query": "swordfish"}', user="bob")
        self.answer("bob")
        self.assertIn("secret of bob", self.platform.texts[-1])
        self.assertNotIn("secret of ann", self.platform.texts[-1])

    def test_a_replacement_worker_repeats_no_finished_step(self) -> None:
        """The worker dies after the tool's result is journaled; the model is asked once more, not twice."""
        pipeline.accept("call:current_time {}")
        with (
            mock.patch.object(runner, "close", side_effect=asyncio.CancelledError),
            self.assertRaises(asyncio.CancelledError),
        ):
            self.answer()
        expire_leases()
        calls, steps = self.model.stats["calls"], TurnStep.objects.count()
        self.assertEqual((calls, steps), (2, 2))
        with mock.patch.object(Registry, "dispatch", side_effect=AssertionError("ran again")):
            self.answer()
        self.assertEqual(self.model.stats["calls"], 3)
        self.assertEqual(len(self.platform.texts), 1)

    def test_a_tool_that_may_not_be_repeated_is_reported_as_interrupted(self) -> None:
        ran: list[str] = []

        async def pay(args: dict, **kwargs: object) -> str:
            ran.append("paid")
            raise Killed

        tools = Registry([Tool(name="pay", description="Pays.", parameters={"type": "object"}, handler=pay)])
        pipeline.accept("call:pay {}")
        with mock.patch.object(runner, "tool_registry", lambda context: tools):
            with self.assertRaises(Killed):
                self.answer()
            expire_leases()
            self.answer()
        self.assertEqual(ran, ["paid"])
        self.assertIn("interrupted; whether it took effect is unknown", self.platform.texts[0])


class FailedTurnTests(PipelineTestCase):
    def test_a_model_that_refuses_is_explained_to_the_person(self) -> None:
        self.model.script.add(status=401)
        pipeline.accept("hello")
        self.answer()
        self.assertIn("credentials", self.platform.texts[0])
        turn = Turn.objects.get()
        self.assertEqual((turn.state, turn.error_kind), ("failed", "authentication"))
        self.assertEqual(pipeline.inbound_states(), ["done"])

    def test_the_message_after_a_failed_one_works(self) -> None:
        self.model.script.add(status=400)
        for text in ("one", "two"):
            pipeline.accept(text)
            self.answer()
        self.assertEqual(self.platform.texts[1], "echo: two")

    def test_a_conversation_too_long_for_the_model_is_shortened_until_it_fits(self) -> None:
        for text in ("one", "two", "three", "four"):
            pipeline.accept(text)
            self.answer()
        self.model.script.add(times=2, status=400, error={"code": "context_length_exceeded"})
        pipeline.accept("five")
        self.answer()
        self.assertEqual(self.platform.texts[-1], "echo: five")
        self.assertEqual(len(self.model.requests[-1]["body"]["messages"]), 4)

    @override_settings(TURN_TIMEOUT_SECONDS=0.2)
    def test_a_turn_that_takes_too_long_is_stopped_and_says_so(self) -> None:
        self.model.script.add(delay=30)
        pipeline.accept("hello")
        self.answer()
        self.assertIn("took longer than I am allowed", self.platform.texts[0])
        self.assertEqual(Turn.objects.get().error_kind, "timeout")

    def test_a_turn_that_fails_inside_is_tried_again_later(self) -> None:
        pipeline.accept("hello")
        with mock.patch.object(runner, "_converse", side_effect=ZeroDivisionError), self.assertLogs("gateway_app"):
            self.answer()
        self.assertEqual(pipeline.inbound_states(), ["running"])
        self.answer()
        self.assertEqual(self.platform.texts, ["echo: hello"])
        self.assertEqual(Turn.objects.get().attempts, 2)

    def test_a_turn_that_fails_every_time_becomes_a_dead_letter_and_the_session_goes_on(self) -> None:
        pipeline.accept("poison")
        with mock.patch.object(runner, "_converse", side_effect=ZeroDivisionError), self.assertLogs("gateway_app"):
            for _ in range(4):
                self.answer()
        self.assertEqual(pipeline.inbound_states(), ["dead"])
        self.assertEqual(Turn.objects.get().state, "dead")
        self.assertIn("kept for the operator", self.platform.texts[0])
        pipeline.accept("hello")
        self.answer()
        self.assertEqual(self.platform.texts[1], "echo: hello")

    def test_a_worker_that_is_told_to_stop_hands_the_turn_back_at_once(self) -> None:
        self.model.script.add(delay=30)
        pipeline.accept("hello")

        async def stop_in_the_middle() -> None:
            task = asyncio.create_task(run_session(pipeline.context(), http=http_session()))
            while not self.model.stats["in_flight"]:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await close_http_session()

        pipeline.run(stop_in_the_middle())
        self.assertEqual(lanes.due(limit=10), [("turns", pipeline.context().session_key)])
        self.answer()
        self.assertEqual(self.platform.texts, ["echo: hello"])
        self.assertEqual(Turn.objects.get().attempts, 1)

    def test_a_commit_that_the_database_refuses_is_tried_again_with_the_reply_in_hand(self) -> None:
        pipeline.accept("hello")
        real, failures = closing.close, [OperationalError("gone"), OperationalError("gone")]

        @functools.wraps(real)
        def close(*args: object) -> object:
            if failures:
                raise failures.pop()
            return real(*args)

        with (
            mock.patch.object(runner, "close", close),
            mock.patch.object(database, "RECORD_WAIT_SECONDS", 0),
            self.assertLogs("gateway_app"),
        ):
            self.answer()
        self.assertEqual(self.platform.texts, ["echo: hello"])
        self.assertEqual(self.model.stats["calls"], 1)


class FenceTests(PipelineTestCase):
    def test_a_worker_that_slept_past_its_lease_changes_nothing_when_it_wakes(self) -> None:
        # Seen to fail with `AND fence = %s` taken out of lanes.holding().
        pipeline.accept("hello")
        sleeper = opening.claim_and_open(session_key=pipeline.context().session_key)
        assert sleeper
        expire_leases()
        self.answer()
        outcome = closing.Outcome(state=TurnState.DONE, reply="from the sleeper")
        with self.assertRaises(lanes.LaneLost):
            closing.close(sleeper, outcome)
        with self.assertRaises(lanes.LaneLost):
            journal.record(
                sleeper.claim, turn_id=sleeper.turn_id, first=5, steps=[journal.Step(StepKind.TOOL_STARTED, {})]
            )
        self.assertEqual(self.platform.texts, ["echo: hello"])
        self.assertEqual(TranscriptMessage.objects.count(), 2)
        self.assertEqual(OutboundPart.objects.count(), 1)

    def test_a_worker_that_slept_cannot_close_the_turn_that_its_successor_is_at(self) -> None:
        # Seen to fail with `AND fence = %s` taken out of lanes.holding_or_releasing().
        pipeline.accept("hello")
        sleeper = opening.claim_and_open(session_key=pipeline.context().session_key)
        expire_leases()
        successor = opening.claim_and_open(session_key=pipeline.context().session_key)
        assert sleeper and successor
        with self.assertRaises(lanes.LaneLost):
            closing.close(sleeper, closing.Outcome(state=TurnState.DONE, reply="from the sleeper"))
        self.assertEqual(pipeline.inbound_states(), ["running"])
        closing.close(successor, closing.Outcome(state=TurnState.DONE, reply="from its successor"))
        self.assertEqual(OutboundPart.objects.get().text, "from its successor")

    def test_a_commit_whose_answer_was_lost_is_not_made_again_and_leaves_the_session_open(self) -> None:
        # Seen to fail with HELD taken out of lanes.holding() and lanes.holding_or_releasing().
        pipeline.accept("hello")
        turn = opening.claim_and_open(session_key=pipeline.context().session_key)
        assert turn
        outcome = closing.Outcome(state=TurnState.DONE, reply="hi")
        closing.close(turn, outcome)
        with self.assertRaises(lanes.LaneLost):
            closing.close(turn, outcome)
        self.assertEqual(OutboundPart.objects.get().text, "hi")
        self.assertEqual(len(pipeline.accept("more").rings), 1)

    def test_a_commit_that_fails_does_not_prolong_the_trust_in_the_lease(self) -> None:
        # Seen to fail with the trust set in lanes.held(), before the commit.
        pipeline.accept("hello")
        turn = opening.claim_and_open(session_key=pipeline.context().session_key)
        assert turn
        trusted_until = turn.claim.trusted_until
        with self.assertRaises(ZeroDivisionError), lanes.fenced(turn.claim):
            lanes.hold(turn.claim)
            raise ZeroDivisionError
        self.assertEqual(turn.claim.trusted_until, trusted_until)

    @override_settings(LANE_LEASE_SECONDS=0.6)
    def test_work_longer_than_the_lease_keeps_it(self) -> None:
        self.model.script.add(delay=1.5)
        pipeline.accept("hello")
        found: list[object] = []

        async def watch() -> None:
            task = asyncio.create_task(run_session(pipeline.context(), http=http_session()))
            while not task.done():
                await asyncio.sleep(0.1)
                found.append(await in_database(self.try_to_claim))
            await task
            await close_http_session()

        pipeline.run(watch())
        self.assertEqual(self.platform.texts, ["echo: hello"])
        self.assertFalse(any(found[:-2]), found)

    def try_to_claim(self) -> bool:
        with transaction.atomic():
            claim = lanes.claim(kind=LaneKind.TURNS, key=pipeline.context().session_key)
            transaction.set_rollback(True)
        return claim is not None

    @override_settings(LANE_LEASE_SECONDS=0.6)
    def test_work_on_a_lane_that_another_worker_claimed_is_stopped(self) -> None:
        self.model.script.add(delay=30)
        pipeline.accept("hello")

        async def overtake() -> None:
            task = asyncio.create_task(run_session(pipeline.context(), http=http_session()))
            while not self.model.stats["in_flight"]:
                await asyncio.sleep(0.01)
            await in_database(self.raise_fence)
            async with asyncio.timeout(5):
                await task
            await close_http_session()

        with self.assertLogs("gateway_app") as logs:
            pipeline.run(overtake())
        self.assertIn("Lost the lane", "".join(logs.output))
        self.assertEqual(self.platform.texts, [])

    def raise_fence(self) -> None:
        Lane.objects.filter(kind="turns").update(fence=F("fence") + 1)
