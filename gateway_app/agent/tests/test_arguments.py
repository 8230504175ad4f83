"""Tool arguments: what models write, and what handlers get."""

from __future__ import annotations

import json
from typing import Any
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway_app.agent import arguments
from gateway_app.agent.arguments import Arguments
from gateway_app.agent.tool_error import ToolError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "loud": {"type": "boolean"},
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {
            "type": "object",
            "properties": {"x": {"type": "integer"}},
            "required": ["x"],
            "additionalProperties": False,
        },
        "when": {"type": ["integer", "null"]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
        "tree": {"$ref": "#/$defs/tree"},
    },
    "additionalProperties": False,
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "branches": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        }
    },
}

AS_MEANT = [
    ({"count": "5"}, {"count": 5}),
    ({"count": 5.0}, {"count": 5}),
    ({"count": "-3.0"}, {"count": -3}),
    ({"share": "0.5"}, {"share": 0.5}),
    ({"share": "7"}, {"share": 7}),
    ({"loud": "true"}, {"loud": True}),
    ({"loud": "False"}, {"loud": False}),
    ({"name": 5}, {"name": "5"}),
    ({"tags": "one"}, {"tags": ["one"]}),
    ({"tags": '["one", 2]'}, {"tags": ["one", "2"]}),
    ({"tags": "[]"}, {"tags": []}),
    ({"place": '{"x": "1"}'}, {"place": {"x": 1}}),
    ({"when": None}, {"when": None}),
    ({"when": "12"}, {"when": 12}),
    ({"name": None, "count": 1}, {"count": 1}),
    ({"either": "4"}, {"either": 4}),
    ({"either": ["4"]}, {"either": [4]}),
    ({"tree": {"n": "1", "branches": {"n": "2"}}}, {"tree": {"n": 1, "branches": [{"n": 2}]}}),
    ({"name": "a\0b"}, {"name": "ab"}),
    ({"loud": True, "count": 1}, {"loud": True, "count": 1}),
]

REFUSED = [
    ('{"count": "five"}', "count: 'five' is not of type 'integer'"),
    ('{"count": "5.5"}', "count: '5.5' is not of type"),
    ('{"count": true}', "count: True is not of type"),
    ('{"loud": 1}', "loud: 1 is not of type"),
    ('{"place": {}}', "place: 'x' is a required property"),
    ('{"share": NaN}', "not JSON"),
    ('{"name": "half', "not JSON"),
    ("[1, 2]", "The arguments are a list"),
    ('"word"', "not JSON"),
    ("null", "The arguments are null"),
    ("[" * 100_000, "nested too deeply"),
]

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from([*SCHEMA["properties"], "x", "n", "branches"])
WRITTEN = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner), max_leaves=10
).map(json.dumps)


def read(values: Any, **schema: Any) -> Arguments:
    return arguments.read(json.dumps(values), schema={**SCHEMA, **schema})


class ReadingTests(TestCase):
    def test_what_is_plainly_meant_is_taken(self) -> None:
        for written, meant in AS_MEANT:
            with self.subTest(written=written):
                found = read(written).values
                self.assertEqual(found, meant)
                self.assertEqual([type(value) for value in found.values()], [type(value) for value in meant.values()])

    def test_what_is_not_is_explained_with_what_the_tool_wants(self) -> None:
        for written, words in REFUSED:
            with self.subTest(written=written[:40]), self.assertRaises(ToolError) as caught:
                arguments.read(written, schema=SCHEMA)
            self.assertIn(words, str(caught.exception))

    def test_missing_arguments_are_named(self) -> None:
        with self.assertRaisesRegex(ToolError, r"^Missing: name, loud\. The tool's schema: \{.*\"name\""):
            read({"count": 1}, required=["name", "count", "loud"])

    def test_arguments_that_the_tool_does_not_know_are_left_out_and_that_is_said(self) -> None:
        found = read({"count": 1, "colour": "red", "place": {"x": 1, "z": 2}})
        self.assertEqual(found.values, {"count": 1, "place": {"x": 1}})
        self.assertEqual(len(found.notes), 2)
        self.assertIn("colour", "".join(found.notes))
        self.assertEqual(read({"colour": "red"}, additionalProperties=True).values, {"colour": "red"})

    def test_arguments_encoded_twice_and_none_at_all_are_read(self) -> None:
        self.assertEqual(arguments.read(json.dumps('{"count": 1}'), schema=SCHEMA).values, {"count": 1})
        self.assertEqual(arguments.read("", schema=SCHEMA).values, {})

    def test_a_schema_that_refers_to_an_address_is_not_followed_there(self) -> None:
        schema = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
        with self.assertRaisesRegex(ToolError, "schema cannot be followed"):
            arguments.read('{"a": 1}', schema=schema)

    def test_a_schema_that_refers_to_itself_ends(self) -> None:
        schema = {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}}
        with self.assertRaises(ToolError):
            arguments.read('{"a": 1}', schema=schema)

    def test_a_long_text_is_not_repeated_whole(self) -> None:
        with self.assertRaises(ToolError) as caught:
            read({"count": "x" * 100_000})
        self.assertLess(len(str(caught.exception)), 4_000)

    @given(st.text() | WRITTEN)
    def test_whatever_is_written_a_handler_gets_only_what_fits(self, written: str) -> None:
        try:
            found = arguments.read(written, schema=SCHEMA)
        except ToolError:
            return
        self.assertTrue(Draft202012Validator(SCHEMA).is_valid(found.values))
