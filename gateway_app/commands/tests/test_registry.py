"""The commands that there are."""

from __future__ import annotations

from django.test import SimpleTestCase

from gateway_app.access.command_access import ALWAYS_ALLOWED, Scope
from gateway_app.commands.base import Call, Command
from gateway_app.commands.invocation import Invocation, parse
from gateway_app.commands.registry import Registry, shipped
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.sessions.source import ChatType
from tests import pipeline


async def say_nothing(call: Call) -> str:
    return "nothing"


class RegistryTests(SimpleTestCase):
    def test_every_command_can_be_typed_by_each_of_its_names(self) -> None:
        for command in shipped().commands:
            for name in (command.name, *command.aliases):
                with self.subTest(name):
                    self.assertEqual(parse(f"/{name}"), Invocation(name, "", ""))
                    self.assertIs(shipped().find(name), command)

    def test_what_is_always_allowed_exists(self) -> None:
        self.assertLessEqual(ALWAYS_ALLOWED, {command.name for command in shipped().commands})

    def test_start_is_help(self) -> None:
        self.assertIs(shipped().find("start"), shipped().find("help"))

    def test_two_commands_cannot_share_a_name(self) -> None:
        one = Command(name="new", aliases=("reset",), summary="ends the session.", run=say_nothing)
        other = Command(name="reset", summary="does something else.", run=say_nothing)
        with self.assertRaisesRegex(ValueError, "/reset is both new and reset"):
            Registry([one, other])

    def test_a_command_either_runs_as_a_turn_or_answers_at_once(self) -> None:
        for how in ({}, {"run": say_nothing, "answer": str}):
            with self.subTest(how), self.assertRaisesRegex(ValueError, "/x needs either"):
                Command(name="x", summary="does.", **how)  # type: ignore[arg-type]  # `answer` is never called
        self.assertFalse(Command(name="x", summary="does.", run=say_nothing).is_control)

    def test_what_reaches_into_a_running_turn_and_what_explains_it_waits_for_none(self) -> None:
        found = [command.name for command in shipped().commands if command.is_control]
        self.assertEqual(
            found, ["approve", "background", "commands", "deny", "help", "queue", "status", "steer", "stop"]
        )

    def test_a_command_is_listed_only_where_it_works_and_to_whom_may_run_it(self) -> None:
        private = Command(name="pair", summary="pairs.", run=say_nothing, scopes=frozenset({Scope.DM}))
        open_one = Command(name="stop", aliases=("halt",), summary="stops.", run=say_nothing)
        found = Registry([open_one, private])
        gated = PlatformAccess(allow_admin_from=("boss",), user_allowed_commands=("halt",))
        group = pipeline.source(chat_id="g", chat_type=ChatType.GROUP)
        for source, access, expected in (
            (pipeline.source(), PlatformAccess(), ["pair", "stop"]),
            (group, PlatformAccess(), ["stop"]),
            (pipeline.source(), gated, ["stop"]),
            (pipeline.source("boss"), gated, ["pair", "stop"]),
        ):
            with self.subTest(expected):
                self.assertEqual([command.name for command in found.permitted(source, access)], expected)
