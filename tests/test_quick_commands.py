"""Quick commands: an operator's own slash commands, through the real pipeline and a real shell."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from django.conf import settings
from django.test import SimpleTestCase, override_settings

from gateway_app import shell
from gateway_app.commands import quick, registry
from gateway_app.config.errors import Wrong
from gateway_app.config.schema import quick as schema
from gateway_app.redaction import redacted
from gateway_app.sessions import overrides
from gateway_app.turns import runner
from tests import pipeline
from tests.configuration import configured
from tests.pipeline_case import Killed, expire_leases
from tests.session_case import SessionTestCase


def quick_commands(*, is_executing: bool = True, seconds: float = 20, **commands: dict[str, str]) -> configured:
    return configured(quick={"commands": commands, "is_executing": is_executing, "seconds": seconds})


def program(command: str) -> dict[str, str]:
    return {"type": "exec", "command": command}


def short_for(target: str) -> dict[str, str]:
    return {"type": "alias", "target": target}


class ExecTests(SessionTestCase):
    def test_it_answers_with_what_the_program_wrote_and_asks_no_model(self) -> None:
        with quick_commands(hello=program("echo hello; echo oops >&2"), fail=program("echo bad >&2; exit 3")):
            self.assertEqual(self.tell("/hello"), ["```\nhello\n```"])
            self.assertEqual(self.tell("/fail"), ["/fail failed, with code 3.\n```\nbad\n```"])
            self.assertIn("**Quick commands**\n- `/fail [<arguments>]`", "".join(self.tell("/commands 3")))
        self.assertEqual(self.model.stats["calls"], 0)

    def test_arguments_are_never_a_part_of_the_command(self) -> None:
        with tempfile.TemporaryDirectory() as folder, quick_commands(say=program('printf "%s|" "$1" "$2" "$#"')):
            spoilt = Path(folder) / "spoilt"
            self.assertEqual(self.tell("/say a b c"), ["```\na|b|3|\n```"])
            (said,) = self.tell(f"/say $(touch${{IFS}}{spoilt}) `touch${{IFS}}{spoilt}`;touch {spoilt}")
            self.assertIn("$(touch${IFS}", said)
            self.assertFalse(spoilt.exists())
            self.assertLess(len("".join(self.tell(f"/say {'x' * 10_000}"))), 4_000)

    @override_settings(OPENAI_API_KEY="unused")
    def test_it_sees_none_of_the_gateways_environment_and_secrets_are_taken_out(self) -> None:
        with (
            mock.patch.dict(os.environ, {"OPENAI_API_KEY": "sk-very-secret-indeed"}),
            configured(model={"api_key": "plain-but-known"}),
            quick_commands(env=program("env; echo plain-but-known; echo sk-0123456789abcdefghij; echo TOKEN=abcdef")),
        ):
            (said,) = self.tell("/env")
        self.assertIn("PATH=", said)
        for secret in ("very-secret", "plain-but-known", "0123456789abcdefghij", "abcdef\n"):
            self.assertNotIn(secret, said)

    def test_it_is_off_unless_it_is_switched_on_and_a_command_of_the_gateway_keeps_its_name(self) -> None:
        with quick_commands(is_executing=False, hello=program("echo hello")):
            self.assertIn("There is no command /hello.", self.tell("/hello")[0])
        with quick_commands(whoami=program("echo root"), reset=short_for("/help")):
            self.assertIn("User id: `ann`", self.tell("/whoami")[0])
            self.assertIn("This is a new conversation already", self.tell("/reset")[0])

    def test_one_that_takes_too_long_is_killed_with_all_that_it_started(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            pids = Path(folder) / "pids"
            script = f'sleep 300 & echo $! > "{pids}"; echo begun; sleep 300'
            with quick_commands(seconds=0.5, slow=program(script), leave=program(f'sleep 300 & echo $! > "{pids}"')):
                for command in ("/slow", "/leave"):
                    (said,) = self.tell(command)
                    with self.subTest(command), self.assertRaises(ProcessLookupError):
                        _signal(int(pids.read_text()))
        self.assertNotIn("took longer", said)

    def test_a_worker_that_dies_while_it_runs_leaves_an_answer_and_no_second_run(self) -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            quick_commands(count=program(f'echo run >> "{folder}/runs"')),
        ):
            pipeline.accept("/count")
            with mock.patch.object(runner, "close", side_effect=Killed), self.assertRaises(Killed):
                self.answer()
            expire_leases()
            self.answer()
            self.assertEqual((Path(folder) / "runs").read_text(), "run\n")
        self.assertIn("Whether it took effect is unknown", self.platform.texts[-1])

    def test_tiers_hold_for_it_under_the_name_that_was_typed(self) -> None:
        lists = {"allow_admin_from": ["boss"], "user_allowed_commands": ["hi"]}
        with (
            configured(access={"platforms": {"recording": lists}}),
            quick_commands(
                hi=short_for("/status"), secret=program("echo it"), home=short_for("sethome"), up=program("echo up")
            ),
        ):
            self.assertIn("Session: ", self.tell("/hi")[0])
            for command in ("/status", "/secret", "/home"):
                self.assertIn("admin-only", self.tell(command)[0])
            self.assertEqual(self.tell("/up", user="boss"), ["```\nup\n```"])

    def test_a_long_output_is_cut_and_cannot_leave_its_block(self) -> None:
        self.assertEqual(quick.shown("a```b\x1b[0m"), "```\na'''b[0m\n```")
        self.assertIn("1,500 characters more", quick.shown("x" * 5_000))
        ended = pipeline.run(
            shell.run("yes | head -c 1000000", arguments=[], folder=settings.CONFIG.installation.home, seconds=20)
        )
        self.assertEqual((ended.code, len(ended.output)), (0, shell.LONGEST_OUTPUT - 1))


class AliasTests(SessionTestCase):
    def test_an_alias_is_the_other_command_with_its_arguments_also_where_that_waits_for_no_turn(self) -> None:
        with (
            configured(model={"allowed": ("clever",)}),
            quick_commands(think=short_for("/model clever"), later=short_for("queue then"), lost=short_for("/nowhere")),
        ):
            self.assertIn("From now on `clever` answers", self.tell("/think")[0])
            self.assertEqual(overrides.of(self.present()).model, "clever")
            self.assertEqual(self.tell("/later stop")[0], "Queued. I answer it by itself, after what came before it.")
            self.assertEqual(self.seen(), ["then stop"])
            self.assertIn("there is no such command", self.tell("/lost")[0])
            self.assertIn("`/think [<name>|default]` is short for /model clever.", "".join(self.tell("/commands 3")))


class SchemaTests(SimpleTestCase):
    def test_wrong_entries_are_refused(self) -> None:
        read = schema.reader(schema.QuickCommand, words=schema.QUICK_WORDS)
        good = read({"Up": program("uptime")})
        self.assertEqual((good[0].name, read(good)), ("up", good))
        for wrong in (
            {"up": {"type": "exec"}}, {"up": {"type": "alias", "command": "x"}}, {"up": {"type": "magic"}},
            {"up": program("x") | {"target": "/y"}}, {"a b": program("x")}, {"up": program("x") | {"env": "y"}}, "x",
        ):  # fmt: skip
            with self.subTest(wrong), self.assertRaises(Wrong):
                read(wrong)

    def test_without_any_the_registry_is_that_of_the_shipped_commands(self) -> None:
        self.assertIs(registry.in_force(), registry.shipped())


class RedactionTests(SimpleTestCase):
    def test_what_looks_like_a_secret_is_taken_out_and_the_rest_stays(self) -> None:
        secrets: dict[str, Any] = {
            "https://ann:hunter22@host/path": "https://•••@host/path",
            "Authorization: Bearer abcdefghij": "Authorization: Bearer •••",
            "ghp_0123456789abcdefghijXYZ": "•••",
            'password = "hunter22" ok': 'password = "•••" ok',
            "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----": "•••",
            "3 tokens: 12 of 40 are used": "3 tokens: 12 of 40 are used",
            "nothing to hide here": "nothing to hide here",
        }
        for text, expected in secrets.items():
            with self.subTest(text):
                self.assertEqual(redacted(text, config=settings.CONFIG), expected)


def _signal(pid: int) -> None:
    """Raises ProcessLookupError where there is no such process any more; a zombie is none."""
    os.kill(pid, 0)
    if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
        raise ProcessLookupError
