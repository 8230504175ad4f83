"""Whatever a person types behind a command, it is answered in few words, and the session goes on."""

from __future__ import annotations

from gateway_app.commands import registry
from gateway_app.models import InboundMessage, Turn
from tests import pipeline
from tests.peers.model_script import Behaviour
from tests.pipeline_case import PipelineTestCase

LONG = 10_000
LONGEST_ANSWER = 4_000
NASTY = "x`*_[\u202e\x00\ud800\n/stop \U0001f600 "
"""Ends quotes, turns the text's direction, is no text at all, looks like a command, takes several bytes."""
ARGUMENTS = ("x" * LONG, "9" * LONG, (NASTY * LONG)[:LONG])


class CommandArgumentTests(PipelineTestCase):
    def test_ten_thousand_characters_of_anything_are_answered_and_cost_nothing_else(self) -> None:
        self.model.script.set(default=Behaviour(answer="well"))
        people = {f"user{number}": command for number, command in enumerate(registry.shipped().commands)}
        for user, command in people.items():
            sent = len(self.platform.texts)
            pipeline.accept("hello", *[f"/{command.name} {text}" for text in ARGUMENTS], user=user)
            pipeline.accept("still there?", user=user)
            self.answer(user)
            self.deliver()
            with self.subTest(command.name):
                answers = self.platform.texts[sent:]
                about = [answer for answer in answers if answer != "well"]
                self.assertGreaterEqual(len(answers), 1 + len(ARGUMENTS))
                self.assertLess(max(map(len, about), default=0), LONGEST_ANSWER)
                self.assertIn("still there?", self.model.requests[-1]["text"])
        conversations = [pipeline.context(user).session_key for user in people]  # others work in the background
        left = InboundMessage.objects.filter(lane__key__in=conversations).exclude(state="done")
        self.assertEqual([*left.values_list("state", "text")], [])
        self.assertFalse(Turn.objects.exclude(state__in=["done", "stopped"]).exists())
