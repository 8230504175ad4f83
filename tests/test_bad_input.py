"""Whatever a person types behind a command, it is answered once, in few words, and the session goes on."""

from __future__ import annotations

from gateway_app.commands import registry
from gateway_app.models import Turn
from tests import pipeline
from tests.pipeline_case import PipelineTestCase

LONG = 10_000
LONGEST_ANSWER = 4_000
NASTY = "x`*_[\u202e\x00\ud800\n/stop \U0001f600 "
"""Ends quotes, turns the text's direction, is no text at all, looks like a command, takes several bytes."""


class CommandArgumentTests(PipelineTestCase):
    def test_ten_thousand_characters_of_anything_are_answered_and_cost_nothing_else(self) -> None:
        for number, command in enumerate(registry.shipped().commands):
            for text in ("x" * LONG, "9" * LONG, (NASTY * LONG)[:LONG]):
                user = f"user{number}"
                with self.subTest(command=command.name, text=text[:10]):
                    sent = len(self.platform.texts)
                    pipeline.accept("hello", f"/{command.name} {text}", "still there?", user=user)
                    self.answer(user)
                    self.deliver()
                    answers = self.platform.texts[sent:]
                    self.assertIn("still there?", answers[-1] if len(answers) < 3 else "".join(answers))
                    self.assertGreaterEqual(len(answers), 2)
                    about = [answer for answer in answers if not answer.startswith("echo: ")]
                    self.assertLess(sum(map(len, about)), LONGEST_ANSWER)
        self.assertEqual(set(pipeline.inbound_states()), {"done"})
        self.assertFalse(Turn.objects.exclude(state__in=["done", "stopped"]).exists())
