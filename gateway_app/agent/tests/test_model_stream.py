"""The two readers under the model client: events from bytes, and a reply from chunks."""

from __future__ import annotations

import json
import unittest
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway_app.agent.model_errors import ModelError, ModelErrorKind
from gateway_app.agent.model_reply import Draft, ModelReply
from gateway_app.agent.model_stream import EventParser

LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=8)

KEYS = ["choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "id", "index", "usage"]


def events_of(stream: bytes, *cuts: int) -> list[bytes]:
    """The events of `stream`, fed in pieces that end at `cuts`."""
    parser = EventParser()
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    found = [event for start, end in pairwise(places) for event in parser.feed(stream[start:end])]
    return found + parser.close()


class TestEvents(unittest.TestCase):
    @given(
        events=st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=5),
        # CR and LF are not mixed: where an empty line ends, the two would read as one CRLF.
        ends=st.sampled_from([["\n"], ["\r\n"], ["\r"], ["\n", "\r\n"], ["\r\n", "\r", "\r"]]),
        noise=st.lists(st.sampled_from([": ping", "event: message", "id: 7", "retry: 10", "", "datum: x"]), max_size=4),
        cuts=st.lists(st.integers(0, 300), max_size=12),
    )
    def test_events_are_the_same_however_the_stream_is_cut_and_its_lines_end(
        self, events: list[list[str]], ends: list[str], noise: list[str], cuts: list[int]
    ) -> None:
        lines = [line for event in events for line in [*noise, *(f"data: {text}" for text in event), ""]]
        stream = "".join(line + ends[place % len(ends)] for place, line in enumerate(lines))
        self.assertEqual(events_of(stream.encode(), *cuts), ["\n".join(event).encode() for event in events])

    def test_mixed_line_ends_comments_and_a_byte_order_mark(self) -> None:
        stream = b"\xef\xbb\xbfdata: one\r\n\r\n: comment\ndata:two\n\ndata\ndata:  three\r\rdata: [DONE]"
        for cut in range(len(stream)):
            with self.subTest(cut=cut):
                self.assertEqual(events_of(stream, cut), [b"one", b"two", b"\n three", b"[DONE]"])

    def test_an_event_is_given_back_with_its_last_byte(self) -> None:
        parser = EventParser()
        self.assertEqual(parser.feed(b"data: a\r\n\r"), [b"a"])
        self.assertEqual(parser.feed(b"\n"), [])
        self.assertEqual(parser.feed(b"data: b\n\n"), [b"b"])


def read(*deltas: dict[str, Any], usage: object = None) -> ModelReply:
    draft = Draft()
    for delta in deltas:
        draft.add(json.dumps({"choices": [{"delta": delta}], "usage": usage}).encode())
    return draft.finish(model="m", seconds=0, prompt_bytes=400)


def call(identifier: str | None, name: str | None, arguments: object, **rest: object) -> dict[str, Any]:
    return {"tool_calls": [{"id": identifier, "function": {"name": name, "arguments": arguments}, **rest}]}


class TestTheReply(unittest.TestCase):
    def calls(self, *deltas: dict[str, Any]) -> list[tuple[str, str]]:
        return [(made.name, made.arguments) for made in read(*deltas).tool_calls]

    def test_fragments_are_told_apart_by_index_whatever_their_order(self) -> None:
        found = self.calls(
            call("a", "one", "{", index=0),
            call("b", "two", "[", index=1),
            call(None, None, "}", index=0),
            call(None, None, "]", index=1),
        )
        self.assertEqual(found, [("one", "{}"), ("two", "[]")])

    def test_fragments_without_an_index_are_told_apart_by_id_or_name(self) -> None:
        found = self.calls(call("a", "one", "{"), call(None, None, "}"), call("b", "two", "{}"), call("", "three", ""))
        self.assertEqual(found, [("one", "{}"), ("two", "{}"), ("three", "{}")])

    def test_calls_that_share_an_index_are_told_apart_by_id(self) -> None:
        found = self.calls(call("a", "one", "{}", index=0), call("b", "two", "{}", index=0))
        self.assertEqual(found, [("one", "{}"), ("two", "{}")])

    def test_a_name_that_each_fragment_repeats_is_taken_once(self) -> None:
        self.assertEqual(self.calls(call("a", "one", "{", index=0), call("a", "one", "}", index=0)), [("one", "{}")])

    def test_arguments_that_are_an_object_become_text(self) -> None:
        self.assertEqual(self.calls(call("a", "one", {"x": 1})), [("one", '{"x": 1}')])

    def test_broken_arguments_stay_as_the_model_wrote_them(self) -> None:
        self.assertEqual(self.calls(call("a", "one", '{"x": ')), [("one", '{"x":')])

    def test_missing_and_repeated_ids_are_replaced(self) -> None:
        reply = read(call("", "one", "", index=0), call("x", "two", "", index=1), call("x", "three", "", index=2))
        ids = [made.id for made in reply.tool_calls]
        self.assertEqual((len(set(ids)), ids[1]), (3, "x"))
        self.assertTrue(all(ids))

    def test_a_character_in_two_halves_is_put_together_and_passed_on_once(self) -> None:
        draft = Draft()
        halves = [
            draft.add(b'{"choices": [{"delta": {"content": "%s"}}]}' % half).text for half in (rb"a\ud83d", rb"\ude00b")
        ]
        self.assertEqual(halves, ["a", "😀b"])
        self.assertEqual(draft.finish(model="m", seconds=0, prompt_bytes=0).text, "a😀b")

    def test_text_is_storable_whatever_the_model_wrote(self) -> None:
        self.assertEqual(read({"content": "a\0b\ude00c\ud83d"}).text, "ab\ufffdc\ufffd")

    def test_content_in_parts_and_a_refusal_are_text(self) -> None:
        parts = [{"type": "thinking", "text": "hm"}, {"type": "text", "text": "yes"}, {"type": "text"}, "x"]
        self.assertEqual(read({"content": parts}).text, "yes")
        self.assertEqual(read({"content": None, "refusal": "I will not."}).text, "I will not.")

    def test_usage_that_no_one_can_believe_is_estimated_instead(self) -> None:
        for usage in ({"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": "5"}, {}, [], True):
            with self.subTest(usage=usage):
                reply = read({"content": "12345"}, usage=usage)
                self.assertEqual((reply.prompt_tokens, reply.completion_tokens), (100, 2))
                self.assertTrue(reply.usage_estimated)

    def test_usage_fits_its_column(self) -> None:
        reply = read({"content": "x"}, usage={"prompt_tokens": 10**30, "completion_tokens": 1})
        self.assertEqual(reply.prompt_tokens, 2**31 - 1)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
            max_leaves=20,
        )
    )
    def test_any_json_is_a_chunk_or_a_model_error(self, value: object) -> None:
        for wrapped in (value, {"choices": [value]}, {"choices": [{"delta": value}]}):
            draft = Draft()
            try:
                draft.add(json.dumps(wrapped).encode())
                draft.finish(model="m", seconds=0, prompt_bytes=0).text.encode()
            except ModelError as error:
                self.assertIsInstance(error.kind, ModelErrorKind)
