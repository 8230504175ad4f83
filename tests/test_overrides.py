"""What people choose for their conversation: kept with it, and used by its turns, whichever worker runs them."""

from __future__ import annotations

import json
from unittest import TestCase

from gateway_app.models import Session, TodoList, Turn
from gateway_app.models.turn import StopReason
from gateway_app.sessions import overrides
from gateway_app.sessions.overrides import Overrides
from gateway_app.turns import opening, runner
from tests import pipeline
from tests.configuration import configured
from tests.pipeline_case import expire_leases
from tests.session_case import SessionTestCase

CHOSEN = Overrides(model="clever", show_reasoning=False)


class FormTests(TestCase):
    def test_only_what_was_chosen_is_kept_and_read_again_from_json_or_its_text(self) -> None:
        self.assertEqual(CHOSEN.to_json(), {"model": "clever", "show_reasoning": False})
        for value in (
            CHOSEN.to_json(),
            json.dumps(CHOSEN.to_json()),
            {"model": "clever", "show_reasoning": False, "x": 1},
        ):
            self.assertEqual(Overrides.from_json(value), CHOSEN)
        self.assertIsNone(Overrides().to_json())
        self.assertEqual(Overrides.from_json(None), Overrides())


@configured(model={"allowed": ("clever",)})
class SessionOverridesTests(SessionTestCase):
    def choose(self, **choices: object) -> None:
        overrides.change(session_pk=self.present().pk, **choices)

    def asked(self) -> str:
        return str(self.model.requests[-1]["body"]["model"])

    def test_the_chosen_model_answers_until_it_is_taken_back(self) -> None:
        self.tell("one")
        usual = self.asked()
        self.choose(model="clever", show_reasoning=True)
        self.tell("two")
        self.assertEqual(self.asked(), "clever")
        self.choose(model="")
        self.assertEqual(overrides.of(self.present()), Overrides(show_reasoning=True))
        self.tell("three")
        self.assertEqual(self.asked(), usual)

    def test_a_model_that_may_not_be_chosen_any_more_is_not_asked(self) -> None:
        self.tell("one")
        usual = self.asked()
        self.choose(model="clever")
        with configured(model={"allowed": ()}):
            self.tell("two")
        self.assertEqual(self.asked(), usual)

    def test_a_worker_that_takes_the_turn_over_goes_on_with_what_was_chosen(self) -> None:
        self.tell("one")
        self.choose(model="clever", show_reasoning=False)
        pipeline.accept("two")
        for _ in range(2):
            turn = opening.claim_and_open(session_key=pipeline.context().session_key)
            assert turn
            self.assertEqual(turn.overrides, CHOSEN)
            expire_leases()
        self.assertEqual(Turn.objects.get(state="running").attempts, 2)

    def test_what_was_chosen_stays_through_new_conversations_resets_and_branches(self) -> None:
        self.tell("one")
        self.choose(model="clever", show_reasoning=False)
        self.tell("/branch", "/new", "two")
        with configured(session_reset={"mode": "idle", "idle_minutes": 1}):
            self.age(hours=1)
            self.tell("three")
        self.assertEqual(self.asked(), "clever")
        self.assertEqual(Session.objects.count(), 4)
        self.assertEqual({overrides.of(session) for session in Session.objects.all()}, {CHOSEN})

    def test_a_resumed_conversation_has_its_own_choices(self) -> None:
        self.tell("one")
        first = self.present()
        self.choose(model="clever")
        self.tell("/new")
        self.choose(model="")
        self.tell(f"/resume {first.session_id}", "two")
        self.assertEqual(self.asked(), "clever")


class LeftBehindTests(SessionTestCase):
    def test_a_branch_begins_with_a_copy_of_the_list_of_things_to_do(self) -> None:
        self.tell("one")
        first = self.present()
        TodoList.objects.create(session=first, items=[{"id": "1", "content": "dig", "status": "pending"}])
        self.tell("/branch")
        copy = TodoList.objects.get(session=self.present())
        self.assertEqual(copy.items, [{"id": "1", "content": "dig", "status": "pending"}])
        TodoList.objects.filter(pk=copy.pk).update(items=[])
        self.assertEqual(len(TodoList.objects.get(session=first).items), 1)

    @configured(session_reset={"mode": "idle", "idle_minutes": 60})
    def test_where_the_first_turn_after_a_reset_is_stopped_the_next_tells_the_model_and_nobody_twice(self) -> None:
        self.tell("one")
        self.age(hours=2)
        pipeline.accept("two")
        turn = opening.claim_and_open(session_key=pipeline.context().session_key)
        assert turn and turn.reset
        pipeline.accept("/stop")
        turn.stop = StopReason.STOPPED
        runner.close(turn, runner._stopped(turn))
        self.tell("three")
        self.assertTrue(self.seen()[-1].startswith("[Note of the gateway: the conversation before this one"))
        self.tell("four")
        self.assertEqual(self.seen()[-1], "four")
        self.deliver()
        self.assertEqual(len([text for text in self.platform.texts if "automatically reset" in text]), 1)
