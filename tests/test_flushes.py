"""What is worth remembering of sessions that are put aside: saved once, for their person, and seen by nobody."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

from django.db import connection
from django.test import override_settings

from gateway_app import tasks
from gateway_app.lanes import LaneLost
from gateway_app.models import FlushStep, MemoryFlush, MemoryNote, OutboundPart, Session, TranscriptMessage, Turn
from gateway_app.sessions import flushes
from gateway_app.sessions.source import ChatType
from gateway_app.worker.database import in_database
from gateway_app.worker.http import close_http_session
from honcho_app import flush
from tests import pipeline
from tests.agent_case import calls
from tests.configuration import configured
from tests.flush_case import ASKED, FlushTestCase, let_leases_end
from tests.pipeline_case import Killed

SHARED: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP, "thread_id": "t"}
IDLE = configured(session_reset={"mode": "idle", "idle_minutes": 60})


class FlushTests(FlushTestCase):
    def test_what_is_worth_it_is_noted_down_for_the_person_of_the_session_that_was_put_aside(self) -> None:
        self.put_aside()
        self.saves("lives in Oslo", "likes tea")
        self.flush()
        self.assertEqual(self.notes(), [("recording::ann", "lives in Oslo"), ("recording::ann", "likes tea")])
        self.assertEqual(self.states(), [("done", "saved")])
        row = MemoryFlush.objects.get()
        self.assertEqual((row.attempts, row.error, row.model), (1, "", "gpt-5-mini"))
        self.assertGreater(row.prompt_tokens, 0)
        self.assertEqual(row.session.flushed_until, TranscriptMessage.objects.latest("id").pk)
        self.assertFalse(FlushStep.objects.exists())

    def test_the_agent_has_the_old_transcript_and_the_old_prompt_and_tools_that_add_to_the_memory_only(self) -> None:
        self.put_aside()
        old = Session.objects.get(end_reason="session_reset")
        self.tell("something else entirely")
        self.flush()
        (messages,) = self.flush_requests()
        self.assertEqual(
            [each["role"] for each in messages], ["system", "user", "assistant", "user", "assistant", "user"]
        )
        self.assertEqual(messages[0]["content"], old.prompt)
        self.assertEqual(messages[1]["content"], "I live in Oslo")
        self.assertNotIn("something else", str(messages))
        (tool,) = self.model.requests[-1]["body"]["tools"]
        self.assertEqual(tool["function"]["name"], "memory")
        self.assertEqual(set(tool["function"]["parameters"]["properties"]), {"scope", "text"})

    def test_nothing_of_it_is_part_of_a_conversation_or_reaches_the_person(self) -> None:
        self.put_aside()
        before = [model.objects.count() for model in (TranscriptMessage, OutboundPart, Turn, Session)]
        self.saves("lives in Oslo")
        with mock.patch.object(
            flush.AIAgent, "run_conversation", autospec=True, side_effect=flush.AIAgent.run_conversation
        ) as run:
            self.flush()
        self.assertIs(run.call_args.kwargs["sync_honcho"], False)
        self.assertEqual([model.objects.count() for model in (TranscriptMessage, OutboundPart, Turn, Session)], before)
        self.tell("hello")
        self.assertEqual(self.seen(), ["hello"])

    def test_what_is_noted_down_already_is_shown_and_only_added_to(self) -> None:
        self.model.script.add(
            contains="remember", tool_calls=calls(("memory", {"action": "add", "text": 'says "hi"'})), rounds=1
        )
        self.tell("remember my greeting")
        self.put_aside()
        self.model.script.add(
            contains=ASKED,
            tool_calls=calls(("memory", {"action": "remove", "number": 1}), ("memory", {"text": 'says "hi"'})),
        )
        self.flush()
        self.assertIn(
            '[{"scope": "one person, in all their direct messages", "notes": ["says \\"hi\\""]}]', self.flushed_with()
        )
        self.assertEqual(self.notes(), [("recording::ann", 'says "hi"')])

    def test_in_a_shared_thread_only_the_conversation_has_notes(self) -> None:
        self.put_aside("one", "two", **SHARED)
        self.saves("they plan a trip")
        self.model.script.add(
            contains=ASKED, tool_calls=calls(("memory", {"scope": "user", "text": "of ann"})), times=1
        )
        self.flush()
        key = MemoryFlush.objects.get().honcho_session_key
        self.assertIn(":thread=t", key)
        self.assertEqual(self.notes(), [(key, "they plan a trip")])

    def test_too_little_nothing_new_no_model_and_no_tools_are_done_with_their_reason(self) -> None:
        self.put_aside("hello")
        self.flush()
        with override_settings(MODEL_IS_DEMONSTRATION=True):
            self.put_aside()
            self.flush()
        with configured(tools={"disabled": ("memory",)}):
            self.put_aside()
            self.flush()
        self.put_aside()
        self.flush()
        self.tell(f"/resume {Session.objects.filter(end_reason='session_reset').latest('id').session_id}", "/new")
        self.flush()
        outcomes = [outcome for state, outcome in self.states() if state == "done"]
        self.assertEqual(outcomes[:4], ["too_short", "no_model", "no_tools", "saved"])
        self.assertEqual(outcomes[-1], "nothing_new")
        self.assertEqual(len(self.flush_requests()), 1)

    def test_a_session_that_was_gone_on_with_is_flushed_of_what_is_new_alone(self) -> None:
        self.put_aside()
        self.flush()
        old = Session.objects.get(end_reason="session_reset")
        self.tell(f"/resume {old.session_id}", "I moved to Rome")
        self.tell("/new")
        self.flush()
        said = [each["content"] for each in self.flush_requests()[-1][1:-1]]
        self.assertEqual(said, ["I moved to Rome", "echo: I moved to Rome"])

    def test_it_takes_eight_model_calls_at_the_most(self) -> None:
        self.put_aside()
        self.model.script.add(
            contains=ASKED, times=None, tool_calls=calls(("memory", {"text": "fact {round}"})), rounds=100
        )
        self.flush()
        self.assertEqual(len(self.flush_requests()), 8)
        self.assertEqual(self.states(), [("done", "saved")])

    def test_a_model_that_says_nothing_has_nothing_more_to_save(self) -> None:
        self.put_aside()
        self.model.script.add(
            contains=ASKED, times=None, answer="", tool_calls=calls(("memory", {"text": "a fact"})), rounds=1
        )
        self.flush()
        self.assertEqual(self.states(), [("done", "saved")])
        self.assertGreater(MemoryFlush.objects.get().prompt_tokens, 0)

    def test_the_persons_next_message_does_not_wait_for_it(self) -> None:
        self.put_aside()
        self.model.script.add(contains=ASKED, delay=30)

        async def both() -> None:
            flushing = asyncio.create_task(tasks.flush_memory.run())
            async with asyncio.timeout(20):
                while not self.model.stats["in_flight"]:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(pipeline.accept, "hello")
                await tasks.run_turn.run(pipeline.context().to_json())
            flushing.cancel()
            await asyncio.gather(flushing, return_exceptions=True)
            await close_http_session()

        pipeline.run(both())
        self.assertEqual(self.platform.texts[-1], "echo: hello")
        row = MemoryFlush.objects.get()
        self.assertEqual((row.state, row.attempts), ("retrying", 0))
        self.flush()
        self.assertEqual(self.states(), [("done", "saved")])


class FailedFlushTests(FlushTestCase):
    def test_it_is_tried_three_times_then_given_up_and_an_operator_can_have_it_tried_again(self) -> None:
        self.put_aside()
        self.model.script.add(contains=ASKED, times=None, status=401, error={"message": "bad key"})
        for attempt, state in enumerate(("retrying", "retrying", "failed"), start=1):
            self.flush()
            row = MemoryFlush.objects.get()
            self.assertEqual((row.attempts, row.state), (attempt, state))
            self.flush()
            self.assertEqual(MemoryFlush.objects.get().attempts, attempt)
            let_leases_end()
        self.assertIn("401", row.error)
        self.assertEqual(row.session.flushed_until, 0)
        self.model.script.set()
        self.assertEqual(flushes.retry(ids=[row.pk, row.pk + 1]), [row.pk])
        self.assertEqual(flushes.retry(ids=[row.pk]), [])
        self.flush()
        self.assertEqual(self.states(), [("done", "saved")])

    def test_one_that_was_given_up_is_not_tried_again_beside_one_that_waits(self) -> None:
        self.put_aside()
        MemoryFlush.objects.update(state="failed", attempts=3)
        old = Session.objects.get(end_reason="session_reset")
        self.tell(f"/resume {old.session_id}", "more", "/new")
        self.assertEqual(flushes.retry(ids=MemoryFlush.objects.values_list("pk", flat=True)), [])
        self.flush()
        self.assertEqual(self.states()[0][0], "failed")
        old.refresh_from_db()
        self.assertGreater(old.flushed_until, 0)

    def test_one_that_kills_its_workers_is_given_up(self) -> None:
        self.put_aside()
        for _ in range(3):
            with mock.patch.object(flushes, "begin", side_effect=Killed), self.assertRaises(Killed):
                self.flush()
            let_leases_end()
        self.flush()
        self.assertEqual(self.states(), [("failed", "")])
        self.assertIn("each worker that began it died", MemoryFlush.objects.get().error)

    def test_one_that_takes_too_long_counts_as_an_attempt(self) -> None:
        self.put_aside()
        self.model.script.add(contains=ASKED, delay=30)
        with configured(memory={"flush_timeout_seconds": 0.2}):
            self.flush()
        row = MemoryFlush.objects.get()
        self.assertEqual((row.state, row.error), ("retrying", "took longer than 0.2 s"))

    def test_one_of_a_key_is_under_way_at_a_time_and_in_their_order(self) -> None:
        self.put_aside()
        self.put_aside("I live in Rome", "and like wine")
        self.put_aside(user="bob")
        first = flushes.claim_next(seconds=60)
        assert first
        other = flushes.claim_next(seconds=60)
        assert other
        self.assertIn("bob", other.honcho_session_key)
        flushes.finish(other)
        self.assertIsNone(flushes.claim_next(seconds=60))
        flushes.fail(first, error="away")
        self.assertIsNone(flushes.claim_next(seconds=60))
        let_leases_end()
        again = flushes.claim_next(seconds=60)
        assert again
        self.assertEqual((again.flush_id, again.attempts), (first.flush_id, 2))
        flushes.finish(again)
        second = flushes.claim_next(seconds=60)
        assert second
        self.assertEqual(second.honcho_session_key, first.honcho_session_key)

    def test_a_worker_that_lost_it_changes_nothing(self) -> None:
        # Seen to fail with the fence left out of flushes.hold() and flushes._own().
        self.put_aside()
        stale = flushes.claim_next(seconds=60)
        assert stale
        let_leases_end()
        fresh = flushes.claim_next(seconds=60)
        assert fresh
        for change in (
            functools.partial(flushes.begin, stale, room=1000, seconds=60),
            functools.partial(flushes.record, stale, first=0, steps=[], seconds=60),
            functools.partial(flushes.commit, stale, lambda: None, seconds=60),
        ):
            with self.assertRaises(LaneLost):
                change()
        flushes.finish(stale)
        flushes.fail(stale, error="late")
        flushes.hand_back(stale)
        row = MemoryFlush.objects.get()
        self.assertEqual((row.state, row.fence, row.attempts), ("running", 2, 2))

    def test_many_workers_at_once_carry_each_out_once(self) -> None:
        users = [f"user{n}" for n in range(6)]
        for user in users:
            self.put_aside(user=user)
        self.model.script.add(contains=ASKED, times=None, tool_calls=calls(("memory", {"text": "fact"})), rounds=1)
        claimed: list[int] = []
        lock = threading.Lock()

        def work() -> None:
            try:
                while attempt := flushes.claim_next(seconds=60):
                    with lock:
                        claimed.append(attempt.flush_id)
                    flushes.finish(attempt)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.flush()
        self.assertEqual(sorted(claimed), sorted(MemoryFlush.objects.values_list("pk", flat=True)))


class KilledFlushTests(FlushTestCase):
    """Kills the worker before and after each of its visits to the database, and counts what was done twice."""

    def kill_at(self, visit: int, *, before: bool) -> bool:
        """Carries flushes out with a worker that dies at its nth visit; whether it came so far."""
        made = 0

        def dying(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            nonlocal made
            made += 1
            if before and made == visit:
                raise Killed
            result = function(*args, **kwargs)
            if made == visit:
                raise Killed
            return result

        async def visiting(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return await in_database(dying, function, *args, **kwargs)

        with (
            mock.patch.object(flush, "in_database", visiting),
            mock.patch.object(flush, "record_in_database", visiting),
            configured(memory={"flush_at_once": 1, "flush_attempts": 100}),
        ):
            try:
                self.flush()
            except Killed:
                return True
        return False

    def test_wherever_a_worker_dies_no_reply_is_paid_for_twice_and_no_note_made_twice(self) -> None:
        self.put_aside()
        old = Session.objects.get(end_reason="session_reset")
        visits = 0
        for before in (True, False):
            for visit in range(1, 100):
                MemoryFlush.objects.all().delete()
                MemoryFlush.objects.create(session=old, honcho_session_key=old.session_key, reason="session_reset")
                Session.objects.update(flushed_until=0)
                MemoryNote.objects.all().delete()
                self.model.script.set()
                self.saves("lives in Oslo")
                paid = len(self.flush_requests())
                was_killed = self.kill_at(visit, before=before)
                let_leases_end()
                self.flush()
                with self.subTest(visit=visit, before=before):
                    self.assertEqual(self.states(), [("done", "saved")])
                    self.assertEqual(self.notes(), [("recording::ann", "lives in Oslo")])
                    # A reply is lost only where its worker died before it was journaled.
                    self.assertLessEqual(len(self.flush_requests()) - paid, 3 if was_killed else 2)
                if not was_killed:
                    break
                visits += 1
        self.assertGreater(visits, 10)
