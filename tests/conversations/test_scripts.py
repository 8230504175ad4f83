"""Every command in a conversation, through real processes: on the Bot API's peer, and in the web chat in a browser."""

from __future__ import annotations

import json
import unittest
from collections.abc import Callable
from typing import ClassVar

from gateway_app.commands import registry
from tests.chaos.case import ChaosTestCase
from tests.chaos.fleet import Fleet
from tests.chromium import Chromium
from tests.conversations import script
from tests.conversations.play import DIRECTIONS, Play
from tests.conversations.script import BadScript, Direction, Place, Scene, Speech, matched
from tests.conversations.stages import Stage, Telegram, Visitors, WebChat


class ScriptTests(unittest.TestCase):
    def test_every_command_has_a_script_with_a_scene_for_every_platform(self) -> None:
        scripts = {each.name: each for each in script.shipped()}
        for command in registry.shipped().commands:
            with self.subTest(command.name):
                found = scripts[command.name]
                self.assertTrue(found.about.startswith(f"/{command.name} "))
                said = [
                    step.text
                    for scene in found.scenes
                    if scene.place is Place.DIRECT
                    for step in scene.steps
                    if isinstance(step, Speech)
                ]
                self.assertTrue([text for text in said if text.split()[0] == f"/{command.name}"], "is never used")

    def test_every_direction_can_be_followed(self) -> None:
        for each in script.shipped():
            for scene in each.scenes:
                for step in scene.steps:
                    if isinstance(step, Direction):
                        self.assertIn(step.text.partition(": ")[0], DIRECTIONS, each.name)

    def test_what_cannot_be_read_is_named(self) -> None:
        for text, words in {
            "about\n": "has scenes",
            "== In a car\nAnn: hi\n": "x:1: there is no place 'In a car'",
            "== In a group\nhi\n": "x:2: neither a speech nor a direction",
            "== In a group\nHermes: hi\n": "nobody has spoken",
            "== In a group\n  hi\n": "nothing that 'hi' could go on with",
        }.items():
            with self.subTest(text), self.assertRaisesRegex(BadScript, words):
                script.read(text, name="x")

    def test_an_answer_is_all_of_what_is_shown_and_names_are_remembered(self) -> None:
        self.assertEqual(matched("- one\n - two", "• one\ntwo", {}), {})
        self.assertIsNone(matched("one", "one two", {}))
        self.assertEqual(matched("…`/resume {id}`… {id}", "go `/resume a.b` to a.b", {}), {"id": "a.b"})
        self.assertIsNone(matched("{id} {id}", "a b", {}))
        self.assertIsNone(matched("{id}!", "a!", {"id": "b"}))


SETTINGS = {
    "HERMES_TELEGRAM_REQUIRE_MENTION": "false",
    "HERMES_COMPRESSION_PROTECT_LAST": "1",  # so that there is something to sum up after a few words
    "HERMES_APPROVALS_TOOLS": "todo",
    "HERMES_MODEL": "alpha",
    "HERMES_MODEL_ALLOWED": "alpha,beta",
    "HERMES_PERSONALITIES": '{"pirate": "Speak like a pirate."}',
    "HERMES_QUICK_COMMANDS": json.dumps(
        {"day": {"command": "echo The day is $1."}, "me": {"type": "alias", "target": "/whoami"}}
    ),
    "HERMES_QUICK_COMMANDS_EXEC": "true",
    "HERMES_TTS": "true",
    # The same few people say all of it.
    "HERMES_LIMIT_SENDER_PER_MINUTE": "0",
    "HERMES_LIMIT_CHAT_PER_MINUTE": "0",
}


class ConversationTests(ChaosTestCase):
    """One fleet and one browser for all scripts."""

    fleet: ClassVar[Fleet]
    longMessage = False

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        database = cls.new_database()
        cls.addClassCleanup(database.drop)
        cls.fleet = cls.enterClassContext(Fleet(database=database, workers=1, webs=1, settings=SETTINGS))

    def test_each_goes_as_it_is_written_on_telegram(self) -> None:
        self.play_all(lambda scene: Telegram(self.fleet, place=scene.place), places=Telegram.places)

    def test_each_goes_as_it_is_written_in_the_browser(self) -> None:
        chromium = Chromium()
        self.addCleanup(chromium.close)
        visitors = Visitors(self.fleet, chromium)
        self.play_all(lambda scene: WebChat(visitors), places=WebChat.places)
        self.assertEqual(visitors.complaints, [])

    def play_all(self, stage: Callable[[Scene], Stage], *, places: frozenset[Place]) -> None:
        for each in script.shipped():
            for scene in each.scenes:
                if scene.place in places:
                    with self.subTest(f"{each.name}: {scene.place}"):
                        Play(scene, name=each.name, stage=stage(scene), fleet=self.fleet).perform()
