"""Settings that are mappings of free names to sections: `mcp_servers`."""

from __future__ import annotations

import json

from gateway_app.config import live, report
from gateway_app.config.schema.mcp import McpServer

from .case import ConfigCase

SERVERS = """
mcp_servers:
  time:
    command: uvx
    args: [mcp-server-time, --verbose, --verbose, 5]
    env: {TOKEN: swordfish, RETRIES: 3, EMPTY: }
    platforms: telegram:-100, webchat
  web:
    url: https://user:swordfish@example.org/mcp/?key=swordfish
    headers: {Authorization: Bearer swordfish}
    enabled: no
"""


class EntryTests(ConfigCase):
    def servers(self, **environment: str) -> dict[str, McpServer]:
        return {server.name: server for server in self.load(**environment).mcp.servers}

    def test_each_name_has_settings_of_its_own(self) -> None:
        self.yaml.write_text(SERVERS.replace("EMPTY: }", "EMPTY: ''}"))
        found = self.servers()
        self.assertEqual(found["time"].args, ("mcp-server-time", "--verbose", "--verbose", "5"))
        self.assertEqual(found["time"].platforms, ("telegram:-100", "webchat"))
        values = {name: value.get_secret_value() for name, value in found["time"].env.items()}
        self.assertEqual(values, {"TOKEN": "swordfish", "RETRIES": "3", "EMPTY": ""})
        self.assertEqual(found["web"].url, "https://user:swordfish@example.org/mcp/?key=swordfish")
        self.assertFalse(found["web"].enabled)

    def test_a_variable_or_a_file_may_hold_them_as_json(self) -> None:
        text = json.dumps({"time": {"command": "x"}})
        path = self.home / "servers.json"
        path.write_text(text)
        for variable, value in (("HERMES_MCP_SERVERS", text), ("HERMES_MCP_SERVERS_FILE", str(path))):
            with self.subTest(variable):
                self.assertEqual(self.servers(**{variable: value})["time"].command, "x")

    def test_no_secret_is_shown(self) -> None:
        self.yaml.write_text(SERVERS.replace(", EMPTY: ", ""))
        config = self.load()
        (row,) = report.rows(config, names=["mcp_servers"])
        self.assertEqual(row.value, "time (command), web (https://…@example.org/mcp/?…, off)")
        self.assertNotIn("swordfish", repr(config.mcp.servers[0]))

    def test_every_mistake_is_named_by_its_place_and_nothing_of_it_is_repeated(self) -> None:
        self.yaml.write_text("""
mcp_servers:
  a: {comand: swordfish}
  b: {command: x, url: "http://x"}
  c: {command: x, timeout: swordfish, env: {A: yes}, platforms: [telegarm]}
  d: {url: swordfish}
""")
        message = self.refused(
            "HERMES_MCP_SERVERS is wrong at a.comand, b, c.env, c.platforms, c.timeout",
            "a.comand: no such key; there are command, args, env",
            "b: either command or url",
            "c.env: a mapping of names to texts; put words such as yes and no in quotes",
            "c.platforms: * or cli, telegram, webchat",
            "c.timeout: a number",
            "config.yaml mcp_servers",
        )
        self.assertNotIn("swordfish", message)

    def test_what_is_no_mapping_of_names_to_servers_is_refused(self) -> None:
        for text, words in (
            ("[1]", "is a list; allowed: a mapping of names"),
            ("{a: swordfish}", "is wrong at 'a'"),
            ("{'a b': {command: x}}", "a b: names of at most 24"),
            ("{a_b: {command: x}, A-b: {command: x}}", "two servers of one name"),
            ("{a: {command: x, headers: {A: b}}}", "a: headers only beside url"),
            ("{a: {url: 'http://x', cwd: /}}", "a: args, env and cwd only beside command"),
            ("{a: {url: 'http://x', headers: {Host: b}}}", "a: in headers names of HTTP headers, but for"),
            ("{a: {command: x, env: {'A B': b}}}", "a: in env names of letters"),
        ):
            with self.subTest(text):
                self.yaml.write_text(f"mcp_servers: {text}")
                self.assertNotIn("swordfish", self.refused(words))
        self.yaml.unlink()
        self.assertNotIn("swordfish", self.refused("as JSON", HERMES_MCP_SERVERS="{swordfish"))

    def test_a_change_elsewhere_leaves_them_as_they_are(self) -> None:
        self.yaml.write_text(SERVERS.replace(", EMPTY: ", ""))
        config = self.load()
        self.assertEqual(config.changed(health={"log_level": "DEBUG"}).mcp, config.mcp)
        self.assertIn("HERMES_MCP_SERVERS", live.LIVE)
