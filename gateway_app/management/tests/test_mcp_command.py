"""`manage.py gateway mcp`, with a server of its own."""

from __future__ import annotations

import contextlib
import logging
import sys
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.test import SimpleTestCase

from gateway_app.mcp.tests.case import PEERS
from tests.configuration import configured

MISFIT = {"command": sys.executable, "args": [str(PEERS / "mcp_misfit.py")], "env": {"TOKEN": "swordfish-1"}}


class McpCommandTests(SimpleTestCase):
    def setUp(self) -> None:
        log = logging.getLogger("gateway_app.mcp")
        log.setLevel(logging.CRITICAL)
        self.addCleanup(log.setLevel, logging.NOTSET)

    def run_mcp(self, *words: str, **servers: dict[str, Any]) -> str:
        output = StringIO()
        # What it printed before it failed counts as well.
        with configured(mcp={"servers": servers or {"misfit": MISFIT}}), contextlib.ExitStack() as failing:
            if words[0] == "fails":
                words = words[1:]
                self.error = failing.enter_context(self.assertRaises(CommandError))
            call_command("gateway", "mcp", *words, stdout=output)
        self.assertNotIn("swordfish", output.getvalue())
        return output.getvalue()

    def test_it_lists_servers_with_their_state_and_their_tools(self) -> None:
        found = self.run_mcp(
            "fails", "list",
            misfit=MISFIT,
            gone={"command": "/nowhere/at-all", "platforms": ["telegram"]},
            off={**MISFIT, "enabled": False},
            asking={**MISFIT, "needs_approval": True},
        )  # fmt: skip
        self.assertIn("misfit (command), for *\n    connected: misfit 1, 3 tools\n    mcp_misfit_say\n", found)
        self.assertIn("gone (command), for telegram\n    away: its program '/nowhere/at-all' could not be", found)
        self.assertIn("off (command, off), for *\n    switched off", found)
        self.assertIn("needs approval", found)
        self.assertEqual(str(self.error.exception), "Away: gone.")

    def test_one_server_is_listed_with_what_its_tools_are_for(self) -> None:
        self.assertIn("mcp_misfit_die  (A tool of the MCP server misfit.) Dies.", self.run_mcp("list", "misfit"))

    def test_it_calls_a_tool_by_either_name(self) -> None:
        for name in ("say", "mcp_misfit_say"):
            self.assertTrue(self.run_mcp("test", "misfit", name, '{"text": 7}').endswith("\n\n7\n"))

    def test_what_is_wrong_is_said_with_what_there_is(self) -> None:
        for words, expected in (
            (("list", "nobody"), "There is no MCP server 'nobody'; the configuration has: misfit."),
            (("test", "misfit"), "`test` needs a server, a tool"),
            (("test", "misfit", "sing"), "offers no tool 'sing'; it offers: mcp_misfit_say, mcp_misfit_die"),
            (("test", "misfit", "say", "[1]"), "they must be a JSON object"),
            (("test", "misfit", "die"), "Whether the call took effect is unknown"),
        ):
            with self.subTest(words):
                self.run_mcp("fails", *words)
                self.assertIn(expected, str(self.error.exception))

    def test_without_servers_it_shows_how_one_is_configured(self) -> None:
        output = StringIO()
        call_command("gateway", "mcp", "list", stdout=output)
        self.assertIn("mcp_servers: {time:", output.getvalue())
