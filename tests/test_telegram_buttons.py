"""Questions on Telegram's peer: buttons below the message, who may press them, and what becomes of a press."""

from __future__ import annotations

from typing import Any
from unittest import mock

from django.db import OperationalError

from gateway_app.models import InboundMessage, Question, Turn
from gateway_app.platforms.telegram import reading
from gateway_app.questions import pressing
from gateway_app.sessions.routing import context_of
from gateway_app.sessions.source import SessionSource
from gateway_app.turns.runner import run_session
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline
from tests.agent_case import calls
from tests.listeners import ListenerThread, telegram_peer, wait
from tests.question_case import QuestionCase

ANN = {"chat_id": 501, "user_id": 501}


class ButtonTests(QuestionCase):
    def setUp(self) -> None:
        super().setUp()
        self.peer = telegram_peer(self)

    def listen(self, *, until: int) -> None:
        """Runs the listener until so many updates are acknowledged and all presses of them are answered."""
        presses = len(self.pressed)
        with ListenerThread():
            self.peer.wait(lambda peer: peer.stats["confirmed"] >= until)
            self.peer.wait(lambda peer: len(peer.notices()) >= presses, what="answers to presses")
            self.peer.wait(lambda peer: not self.settles or not peer.messages()[self.settles - 1]["buttons"])

    pressed: set[int]
    settles = 0
    """The number of the message whose buttons go."""

    def ask(self, *wanted: Any, **place: Any) -> list[dict[str, Any]]:
        """A message that leads to these calls; returns what the bot sent."""
        self.pressed = set()
        self.model.script.add(tool_calls=calls(*wanted))
        self.peer.push_text("@hermes_test_bot go", **place)
        self.listen(until=self.peer.stats["pushed"])
        self.go_on()
        return self.peer.messages()

    def go_on(self) -> None:
        """Does what one ring of the session does."""
        source = SessionSource.from_json(InboundMessage.objects.latest("id").source)

        async def ring() -> None:
            try:
                await run_session(context_of(source, session_id=""), http=http_session())
            finally:
                await close_http_session()

        pipeline.run(ring())

    def press(self, label: str, message: dict[str, Any], *, user_id: int = 501) -> int:
        values = {button["text"]: button["callback_data"] for row in message["buttons"] for button in row}
        number = self.peer.push_press(
            values[label], message_id=message["message_id"], chat_id=message["chat_id"], user_id=user_id
        )
        self.pressed.add(number)
        return number

    def test_a_press_approves_is_answered_and_the_buttons_go(self) -> None:
        (asked,) = self.ask("pay", **ANN)
        self.assertIn("May I run this?", asked["shown"])
        self.press("Approve", asked)
        self.settles = 1
        self.listen(until=2)
        self.assertEqual(self.peer.notices(), ["Approved: pay (1)."])
        self.go_on()
        self.assertEqual((self.runs, self.turn_states()), ({"pay 0": 1}, ["done"]))
        self.assertEqual(self.audited(), [("tool_approved", "501", "button")])

    def test_an_update_that_comes_again_and_a_second_press_do_no_harm(self) -> None:
        (asked,) = self.ask(("clarify", {"question": "Which?", "choices": ["red", "blue"]}), **ANN)
        self.assertEqual([button["text"] for row in asked["buttons"] for button in row], ["red", "blue"])
        first = self.press("blue", asked)
        self.settles = 1
        self.listen(until=2)
        self.peer.repeat(first)
        with ListenerThread():
            self.peer.wait(lambda peer: peer.stats["confirmed"] >= 3)
        self.pressed.add(self.peer.push_press(f"{Question.objects.get().token}.1", message_id=asked["message_id"]))
        self.listen(until=4)
        self.assertEqual(self.peer.notices(), ["Answered: blue"] * 2)
        self.go_on()
        self.assertEqual(self.results(), ["blue"])

    def test_in_a_group_somebody_elses_press_is_refused_and_the_buttons_stay(self) -> None:
        group: dict[str, Any] = {"chat_id": -900, "chat_type": "supergroup"}
        (asked,) = self.ask("pay", user_id=501, **group)
        self.press("Approve", asked, user_id=502)
        self.listen(until=2)
        self.assertIn("not yours to decide", self.peer.notices()[0])
        self.assertTrue(self.peer.messages()[0]["buttons"])
        self.assertEqual((self.states(), self.turn_states()), (["pending"], ["parked"]))

    def test_a_press_is_acknowledged_only_once_it_is_committed(self) -> None:
        (asked,) = self.ask("pay", **ANN)
        self.press("Deny", asked)
        press, failures = pressing.press, [OperationalError("away"), OperationalError("away")]

        def refuse(*args: Any, **kwargs: Any) -> Any:
            if failures:
                self.assertEqual(self.peer.stats["confirmed"], 1)
                raise failures.pop()
            return press(*args, **kwargs)

        with mock.patch.object(pressing, "press", refuse), ListenerThread():
            wait(lambda: Question.objects.get().state == "denied")
            self.peer.wait(lambda peer: peer.stats["confirmed"] == 2)
        self.assertEqual(Turn.objects.get().state, "parked")

    def test_what_is_no_press_of_ours_is_passed_over(self) -> None:
        bot = reading.Bot(account="1", user_id=1, username="bot")
        for query in (
            None,
            {},
            {"id": "1", "from": {"id": 5}},
            {"id": "1", "from": {}, "inline_message_id": "x", "data": "y"},
        ):
            self.assertIsNone(reading.read({"update_id": 1, "callback_query": query}, bot=bot))
        odd = {"id": "1", "from": {"id": "x"}, "message": {"message_id": 1}, "data": "y"}
        self.assertIn(
            "field required".lower(), reading.read({"update_id": 1, "callback_query": odd}, bot=bot).reason.lower()
        )
