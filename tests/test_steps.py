"""Steps of several sessions that share a transaction."""

from __future__ import annotations

import functools
import random
import threading

from django.db import connection
from django.test import TransactionTestCase
from django.test.utils import CaptureQueriesContext

from gateway_app import lanes
from gateway_app.models import Heartbeat, Lane, OutboundPart, Turn
from gateway_app.models.turn import TurnState
from gateway_app.statements import Row, Sql, Statement, insert
from gateway_app.steps import Road, step
from gateway_app.turns.closing import Outcome, close
from gateway_app.turns.opening import OpenTurn, claim_and_open
from tests import pipeline
from tests.pipeline_case import PipelineTestCase

PEOPLE = ["ann", "bob", "cy", "dee"]


@step
def note(name: str) -> Road[list[Row]]:
    """Writes a row in one trip and counts all in the next."""
    written = [(name, Sql("CURRENT_TIMESTAMP"))]
    (made,) = yield [insert(Heartbeat, columns=("name", "beat_at"), rows=written, returning=("name",))]
    if name == "bad":
        raise ZeroDivisionError
    (counted,) = yield [Statement(f"SELECT count(*) FROM {Heartbeat._meta.db_table}")]
    return made + counted


class StepTests(TransactionTestCase):
    def test_a_step_by_itself_is_a_transaction(self) -> None:
        self.assertEqual(note("one"), [("one",), (1,)])
        with self.assertRaises(ZeroDivisionError):
            note("bad")
        self.assertEqual(Heartbeat.objects.count(), 1)

    def test_steps_that_go_together_get_each_its_own_rows_in_the_trips_of_one(self) -> None:
        with CaptureQueriesContext(connection) as alone:
            note("zero")
        names = ["one", "two", "three"]
        with CaptureQueriesContext(connection) as trips:
            found = note.together([functools.partial(note, name) for name in names])
        self.assertEqual(found, [[(name,), (4,)] for name in names])
        if connection.vendor == "postgresql":
            self.assertEqual(len(trips), len(alone))

    def test_what_one_of_them_raises_undoes_all(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            note.together([functools.partial(note, name) for name in ("one", "bad", "two")])
        self.assertEqual(Heartbeat.objects.count(), 0)


class TurnsTogetherTests(PipelineTestCase):
    """Turns of several sessions are opened, closed and sent side by side."""

    def open(self, *people: str) -> list[OpenTurn | None]:
        keys = [pipeline.context(user).session_key for user in people]
        return claim_and_open.together([functools.partial(claim_and_open, session_key=key) for key in keys])

    def test_each_session_gets_its_own_turn_and_each_turn_its_own_reply(self) -> None:
        for user in PEOPLE:
            pipeline.accept(f"hello from {user}", user=user)
        turns = self.open(*PEOPLE)
        self.assertEqual([turn.asked for turn in turns if turn], [f"hello from {user}" for user in PEOPLE])
        outcomes = {user: Outcome(state=TurnState.DONE, reply=f"to {user}") for user in PEOPLE}
        calls = [functools.partial(close, turn, outcomes[user]) for user, turn in zip(PEOPLE, turns, strict=True)]
        for user, closed in zip(PEOPLE, close.together(calls), strict=True):
            assert closed.head and closed.delivery
            self.assertEqual((closed.head.part.text, closed.head.part.chat_id), (f"to {user}", f"chat-{user}"))
            self.assertIn(f"chat-{user}", closed.delivery.key)
            self.assertIsNone(closed.following)
        self.assertEqual(pipeline.inbound_states(), ["done"] * 4)
        said = OutboundPart.objects.values_list("chat_id", "text", "turn__session__user_id")
        self.assertEqual(set(said), {(f"chat-{user}", f"to {user}", user) for user in PEOPLE})

    def test_a_session_that_another_worker_has_is_left_to_it(self) -> None:
        for user in PEOPLE:
            pipeline.accept("hello", user=user)
        (theirs,) = self.open("bob")
        turns = self.open(*PEOPLE)
        self.assertIsNotNone(theirs)
        self.assertEqual([turn is None for turn in turns], [user == "bob" for user in PEOPLE])

    def test_a_turn_that_another_worker_took_over_keeps_the_others_from_committing_with_it(self) -> None:
        for user in PEOPLE:
            pipeline.accept("hello", user=user)
        turns = self.open(*PEOPLE)
        Lane.objects.filter(key=pipeline.context("cy").session_key).update(lease_until=None)
        (taken_over,) = self.open("cy")
        self.assertIsNotNone(taken_over)
        calls = [functools.partial(close, turn, Outcome(state=TurnState.DONE, reply="hi")) for turn in turns if turn]
        with self.assertRaises(lanes.LaneLost):
            close.together(calls)
        self.assertEqual(OutboundPart.objects.count(), 0)
        self.assertEqual(pipeline.inbound_states(), ["running"] * 4)

    def test_claims_of_the_same_sessions_in_any_order_never_wait_for_each_other_in_a_circle(self) -> None:
        # Seen to fail on PostgreSQL with `statement.locks` left out of the order in `steps._sent()`: deadlocks.
        people = [f"person-{number}" for number in range(12)]
        for user in people:
            pipeline.accept("hello", user=user)
        keys = [pipeline.context(user).session_key for user in people]
        won: list[str] = []
        errors: list[Exception] = []
        ready = threading.Barrier(4)

        def work(seed: int) -> None:
            mine = random.Random(seed).sample(keys, len(keys))
            try:
                ready.wait(10)
                for _ in range(5):
                    calls = [functools.partial(claim_and_open, session_key=key) for key in mine]
                    won.extend(turn.claim.key for turn in claim_and_open.together(calls) if turn)
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=[seed]) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(errors, [])
        self.assertEqual(sorted(won), sorted(keys))
        self.assertEqual(Turn.objects.count(), len(keys))
