"""What of a server's tools is offered, under which name, and to whom."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from mcp_types import CallToolResult
from mcp_types import Tool as Listed

from gateway_app.agent.tools import shipped
from gateway_app.config.schema.mcp import McpServer
from gateway_app.mcp import contents, schemas
from gateway_app.mcp.connection import Connection
from gateway_app.mcp.naming import LONGEST, PREFIX, is_named, tool_name
from gateway_app.mcp.offering import MOST_TOOLS, is_offered, offered
from gateway_app.mcp.problem import McpProblem
from gateway_app.mcp.references import HIDDEN, access_of
from tests import pipeline

from .case import server


def listed(name: str, **values: Any) -> Listed:
    return Listed.model_validate({"name": name, "inputSchema": {"type": "object"}, **values})


def tools(*found: Listed, **values: Any) -> dict[str, Any]:
    """What is offered of `found`, by name."""
    connection = Connection(server("x", **values), on_tools=lambda listed: None)
    return {tool.name: tool for tool in offered(connection, found)}


class NameTests(SimpleTestCase):
    def test_a_plain_name_stays_and_another_ends_with_a_hash_of_what_it_was(self) -> None:
        self.assertEqual(tool_name("time", "get_current_time"), "mcp_time_get_current_time")
        self.assertRegex(tool_name("time", "get time"), r"^mcp_time_get_time_[0-9a-f]{8}$")
        self.assertNotEqual(tool_name("time", "get time"), tool_name("time", "get.time"))

    @given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,23}", fullmatch=True), st.text(max_size=200))
    def test_whatever_a_tool_is_called_its_name_is_one_that_models_take(self, slug: str, tool: str) -> None:
        self.assertRegex(tool_name(slug, tool), r"^mcp_[A-Za-z0-9-]+_[A-Za-z0-9_-]+$")
        self.assertLessEqual(len(tool_name(slug, tool)), LONGEST)

    def test_no_tool_of_the_gateway_has_a_name_that_a_server_could_have(self) -> None:
        self.assertFalse([name for name in shipped().names if name.startswith(PREFIX)])

    def test_two_servers_never_share_a_name(self) -> None:
        one, other = (McpServer(name=name, command="x") for name in ("a", "a_b"))
        self.assertNotEqual(tool_name(one.slug, "b_c"), tool_name(other.slug, "c"))

    def test_a_star_stands_for_the_rest_of_a_name(self) -> None:
        self.assertTrue(is_named("get_time", ["get_*"]) and is_named("x", ["*"]) and is_named("x", ["y", "x"]))
        self.assertFalse(is_named("get_time", ["get", "*_time"]) or is_named("x", []))


class OfferTests(SimpleTestCase):
    def test_only_tools_that_the_lists_allow_are_offered(self) -> None:
        names = [listed(name) for name in ("get_a", "get_b", "set_a")]
        self.assertEqual(list(tools(*names)), ["mcp_x_get_a", "mcp_x_get_b", "mcp_x_set_a"])
        self.assertEqual(list(tools(*names, tools=["get_*"], exclude=["get_b"])), ["mcp_x_get_a"])
        self.assertEqual(list(tools(*names, tools=[])), [])

    def test_a_name_that_is_there_twice_counts_once_and_a_flood_of_tools_is_cut(self) -> None:
        self.assertEqual(len(tools(listed("a"), listed("a"))), 1)
        with self.assertLogs("gateway_app.mcp", "WARNING"):
            self.assertEqual(len(tools(*(listed(f"t{number}") for number in range(500)))), MOST_TOOLS)

    def test_a_call_is_repeated_only_if_server_and_operator_say_so(self) -> None:
        reading, plain = listed("a", annotations={"readOnlyHint": True}), listed("b")
        for tool, values, expected in (
            (reading, {"repeat_reads": True}, True), (reading, {}, False), (plain, {"repeat_reads": True}, False),
        ):  # fmt: skip
            with self.subTest(tool=tool.name, **values):
                self.assertIs(tools(tool, **values)[f"mcp_x_{tool.name}"].is_repeatable, expected)

    def test_calls_run_beside_each_other_only_if_the_operator_says_so(self) -> None:
        self.assertFalse(tools(listed("a", annotations={"readOnlyHint": True}))["mcp_x_a"].is_parallel)
        self.assertTrue(tools(listed("a"), parallel=True)["mcp_x_a"].is_parallel)

    def test_a_servers_tools_are_offered_where_its_configuration_says(self) -> None:
        here = dataclasses.replace(pipeline.context(), platform="telegram", chat_id="-100")
        for places, expected in (
            (["*"], True), (["telegram"], True), (["webchat"], False), (["telegram:-100"], True),
            (["telegram:-1001"], False), (["webchat", "telegram:-100"], True), ([], False),
        ):  # fmt: skip
            with self.subTest(places=places):
                self.assertIs(is_offered(server("x", platforms=places), here), expected)
        self.assertFalse(is_offered(server("x", enabled=False), here))


class SchemaTests(SimpleTestCase):
    def test_references_are_put_in_their_place(self) -> None:
        found = schemas.offered(
            {
                "type": "object",
                "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
                "properties": {"at": {"$ref": "#/$defs/point", "description": "where"}, "all": {"type": "array"}},
                "required": ["at"],
                "anyOf": [{"required": ["at"]}],
                "$schema": "http://json-schema.org/draft-07/schema#",
            }
        )
        point = {"type": "object", "required": ["x"], "description": "where", "properties": {"x": {"type": "number"}}}
        self.assertEqual(
            found,
            {
                "type": "object",
                "properties": {"at": point, "all": {"type": "array", "items": {}}},
                "required": ["at"],
            },
        )

    def test_a_schema_that_refers_to_itself_or_unfolds_without_end_is_cut(self) -> None:
        schemas.offered({"type": "object", "properties": {"a": {"$ref": "#"}}})
        fold = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
        started = time.monotonic()
        found = schemas.offered({"type": "object", "$defs": fold, "properties": {"a": {"$ref": "#/$defs/d0"}}})
        self.assertEqual(found, schemas.ANYTHING)
        self.assertLess(time.monotonic() - started, 1)

    def test_what_is_no_schema_or_a_huge_one_leaves_the_check_to_the_server(self) -> None:
        for properties in ({"a": {"type": "nonsense"}}, {"a": {"enum": ["x" * 100] * 1_000}}, {"a": {"minimum": "x"}}):
            with self.subTest(str(properties)[:40]):
                self.assertEqual(schemas.offered({"type": "object", "properties": properties}), schemas.ANYTHING)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["type", "$ref", "properties", "items", "anyOf", "required", "enum", "pattern", "a"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=20,
        )
    )
    def test_whatever_a_server_sends_comes_out_as_a_schema_of_an_object(self, schema: Any) -> None:
        found = schemas.offered(schema if isinstance(schema, dict) else {"properties": {"a": schema}})
        Draft202012Validator.check_schema(found)
        self.assertEqual(found["type"], "object")
        self.assertNotIn("$ref", json.dumps({**found, "properties": list(found["properties"].values())}))


class ContentTests(SimpleTestCase):
    def text(self, *parts: dict[str, Any], **values: Any) -> str:
        return contents.as_text(CallToolResult.model_validate({"content": list(parts), **values}))

    def test_what_is_no_text_is_described(self) -> None:
        found = self.text(
            {"type": "text", "text": "look"},
            {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
            {"type": "resource_link", "name": "notes", "uri": "file:///notes.txt", "description": "of\nmine"},
            {"type": "resource", "resource": {"uri": "file:///a.txt", "mimeType": "text/plain", "text": "inside"}},
            {"type": "resource", "resource": {"uri": "file:///b", "blob": "AAA="}},
        )
        self.assertEqual(
            found.split("\n\n"),
            [
                "look",
                "[A sound, audio/wav, 3 bytes. It cannot be shown here.]",
                "[A resource that the server has: notes, at file:///notes.txt: of mine]",
                "[A resource, file:///a.txt, text/plain:]\ninside",
                "[A resource, file:///b, of no said kind, 2 bytes. It cannot be shown here.]",
            ],
        )

    def test_structured_content_stands_in_for_text_that_is_missing(self) -> None:
        self.assertEqual(self.text(structuredContent={"a": 1}), '{"a": 1}')
        self.assertEqual(self.text({"type": "text", "text": "one"}, structuredContent={"a": 1}), "one")
        self.assertEqual(self.text(), "(nothing)")


class ReferenceTests(SimpleTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_references_are_filled_in_and_never_shown(self) -> None:
        (self.folder / "token").write_text("from-a-file\n")
        found = access_of(
            server(
                "x",
                args=["--key=${KEY}", "$KEY"],
                env={"A": f"${{file:{self.folder}/token}}", "API_KEY": "plain-secret", "TZ": "Europe/Berlin"},
            ),
            folder=self.folder,
            environment={"KEY": "from-outside", "PATH": "/bin", "OPENAI_API_KEY": "not-for-it"},
        )
        self.assertEqual(found.args, ("--key=from-outside", "$KEY"))
        self.assertEqual(
            found.env, {"PATH": "/bin", "A": "from-a-file", "API_KEY": "plain-secret", "TZ": "Europe/Berlin"}
        )
        self.assertEqual(
            found.masked("from-outside from-a-file plain-secret Europe/Berlin"),
            f"{HIDDEN} {HIDDEN} {HIDDEN} Europe/Berlin",
        )

    def test_a_reference_to_nothing_names_what_is_missing_and_no_content(self) -> None:
        (self.folder / "lines").write_text("swordfish\nswordfish")
        for text, words in (
            ("${NOT_SET}", "variable NOT_SET, which is not set"),
            (f"${{file:{self.folder}/none}}", "cannot be read: No such file"),
            (f"${{file:{self.folder}/lines}}", "does not hold one line"),
        ):
            with self.subTest(text), self.assertRaisesRegex(McpProblem, words) as caught:
                access_of(server("x", env={"A": text}), folder=self.folder, environment={})
            self.assertNotIn("swordfish", str(caught.exception))
