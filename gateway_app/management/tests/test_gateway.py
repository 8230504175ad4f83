"""`manage.py gateway` and its subcommand `config`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from django.core.management import CommandError, call_command
from django.test import SimpleTestCase

from gateway_app.config.catalogue import SETTINGS
from gateway_app.management.gateway import subcommands
from tests.configuration import configured
from tests.processes import ROOT


class GatewayCommandTests(SimpleTestCase):
    def run_config(self, *words: str) -> str:
        output = StringIO()
        call_command("gateway", "config", *words, stdout=output)
        return output.getvalue()

    def test_every_subcommand_says_what_it_is_for(self) -> None:
        self.assertIn("config", subcommands())
        for name, module in subcommands().items():
            with self.subTest(name):
                self.assertRegex(module.HELP.strip().partition("\n")[0], r"\w.*\.$")

    def test_without_or_with_a_wrong_subcommand_it_names_those_there_are(self) -> None:
        for words in ((), ("nonsense",)):
            with self.assertRaises(CommandError) as caught:
                call_command("gateway", *words)
            self.assertIn("subcommand", str(caught.exception))

    def test_every_setting_is_there_with_its_origin_and_its_default(self) -> None:
        rows = json.loads(self.run_config("--json"))
        self.assertEqual([row["variable"] for row in rows], [setting.variable for setting in SETTINGS])
        for row in rows:
            self.assertTrue(row["value"] and row["origin"] and row["default"], row)

    def test_one_setting_is_named_by_its_variable_its_key_or_a_beginning(self) -> None:
        for name in ("HERMES_LANE_LEASE_SECONDS", "hermes_lane_lease_seconds", "lanes.lease_seconds"):
            self.assertEqual(
                self.run_config(name),
                "HERMES_LANE_LEASE_SECONDS  (lanes.lease_seconds)\n    20\n    from default; default: 20\n",
            )
        self.assertEqual(self.run_config("lanes").count("from default"), 5)

    def test_an_unknown_name_is_an_error_that_names_the_nearest(self) -> None:
        with self.assertRaisesRegex(
            CommandError, "no setting 'TELEGRAM_ALOW_FROM'; the nearest is TELEGRAM_ALLOW_FROM"
        ):
            self.run_config("TELEGRAM_ALOW_FROM")

    @configured(
        model={"api_key": "geheim", "base_url": "http://u:geheim@h/v1"},
        database={"url": "postgres://u:geheim@h/n?password=geheim"},
        broker={"redis_url": "redis://:geheim@h/0", "url": "amqp://u:geheim@h//"},
        health={"metrics_token": "geheim"},
        platforms={"telegram": {"token": "1:geheim"}},
    )
    def test_no_secret_is_shown(self) -> None:
        for words in ((), ("--json",)):
            text = self.run_config(*words)
            self.assertNotIn("geheim", text)
            self.assertIn("set, not shown", text)
            self.assertIn("postgres://…@h/n?…", text)

    def test_in_a_process_of_its_own_it_tells_where_each_value_comes_from(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            (Path(home) / "config.yaml").write_text("telegram: {allow_from: [5]}\nlane: {}\n")
            (Path(home) / ".env").write_text("HERMES_WORKERS=3\n")
            done = subprocess.run(
                [sys.executable, "manage.py", "gateway", "config", "--json"],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "HERMES_HOME": home, "HERMES_LOG_LEVEL": "WARNING"},
                capture_output=True,
                text=True,
            )
        found = {row["variable"]: (row["value"], row["origin"]) for row in json.loads(done.stdout)}
        self.assertEqual(found["TELEGRAM_ALLOW_FROM"], ("5", "config.yaml telegram.allow_from"))
        self.assertEqual(found["HERMES_WORKERS"], ("3", ".env HERMES_WORKERS"))
        self.assertEqual(found["HERMES_LOG_LEVEL"], ("WARNING", "environment HERMES_LOG_LEVEL"))
        self.assertEqual(done.stderr.count("The nearest known one is 'lanes'"), 1)
