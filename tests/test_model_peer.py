"""The model peer itself: that it is as strict as it says, and that it runs as a command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import unittest
import urllib.request
from typing import Any

from django.conf import settings

from tests.peers.model import ModelPeer
from tests.peers.model_requests import BadRequest, read_request

USER = {"role": "user", "content": "hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": ""}


def check(*messages: Any, content_type: str = "application/json", **fields: Any) -> dict[str, Any]:
    request = {"model": "m", "messages": list(messages), **fields}
    return read_request(json.dumps(request).encode(), content_type=content_type)


class TestItsStrictness(unittest.TestCase):
    def test_a_conversation_with_tools_is_accepted(self) -> None:
        check({"role": "system", "content": "Be brief."}, USER, CALLING, RESULT)
        check(USER, CALLING, RESULT, {"role": "assistant", "content": "Noon."}, USER)
        check({"role": "user", "content": [{"type": "text", "text": "hello 😀"}]})

    def test_wrong_conversations_are_refused(self) -> None:
        wrong: dict[str, tuple[Any, ...]] = {
            "no messages": (),
            "a message that is text": ("hello",),
            "an unknown role": ({"role": "robot", "content": "x"},),
            "an unknown field": ({**USER, "timestamp": 1},),
            "an empty text": ({"role": "user", "content": ""},),
            "no content": ({"role": "user", "content": None},),
            "an unknown part": ({"role": "user", "content": [{"type": "smell"}]},),
            "a part without its text": ({"role": "user", "content": [{"type": "text"}]},),
            "a lone surrogate": ({"role": "user", "content": "\ud83d"},),
            "a late system message": (USER, {"role": "system", "content": "Be brief."}, USER),
            "an assistant at the end": (USER, {"role": "assistant", "content": "Hello."}),
            "a silent assistant": (USER, {"role": "assistant", "content": ""}, USER),
            "a result without a call": (USER, RESULT),
            "a result of another call": (USER, CALLING, {**RESULT, "tool_call_id": "c2"}),
            "a second result": (USER, CALLING, RESULT, RESULT),
            "a call without a result": (USER, CALLING, USER),
            "two calls with one id": (USER, {**CALLING, "tool_calls": [CALL, CALL]}, RESULT),
            "an empty list of calls": (USER, {**CALLING, "content": "x", "tool_calls": []}, USER),
            "arguments that are an object": (
                USER,
                {**CALLING, "tool_calls": [{**CALL, "function": {"name": "clock", "arguments": {}}}]},
                RESULT,
            ),
        }
        for name, messages in wrong.items():
            with self.subTest(name), self.assertRaises(BadRequest):
                check(*messages)

    def test_wrong_fields_are_refused(self) -> None:
        tool = {"type": "function", "function": {"name": "clock"}}
        for fields in (
            {"tools": []},
            {"tools": [tool, tool]},
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            {"max_tokens": 0},
            {"max_tokens": 1.5},
            {"stream": "yes"},
            {"stream_options": {}},
            {"model": ""},
            {"surprise": 1},
        ):
            with self.subTest(fields=fields), self.assertRaises(BadRequest):
                check(USER, **fields)
        with self.assertRaises(BadRequest):
            check(USER, content_type="text/plain")

    def test_bodies_that_are_no_requests_are_refused(self) -> None:
        for raw in (b"", b"{", b"[]", b'"x"', b"\xff{}", b"[" * 100_000):
            with self.subTest(raw=raw[:10]), self.assertRaises(BadRequest):
                read_request(raw, content_type="application/json")


def fetch(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


class TestItsCommand(unittest.TestCase):
    def test_it_prints_its_address_obeys_its_script_counts_and_ends_on_sigterm(self) -> None:
        command = [sys.executable, "-m", "tests.peers.model", "--models", "m", "--answer", "so: {text}"]
        with subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True) as process:
            self.addCleanup(process.kill)
            assert process.stdout is not None
            base_url = process.stdout.readline().strip()
            root = base_url.removesuffix("/v1")
            ask = {"model": "m", "messages": [USER]}
            self.assertEqual(fetch(base_url + "/models")["data"][0]["id"], "m")
            self.assertEqual(self.text(fetch(base_url + "/chat/completions", ask)), "so: hello")
            fetch(root + "/_/script", {"rules": [{"behaviour": {"answer": "once"}, "times": 1, "contains": "hell"}]})
            self.assertEqual(self.text(fetch(base_url + "/chat/completions", ask)), "once")
            self.assertEqual(self.text(fetch(base_url + "/chat/completions", ask)), "echo: hello")
            stats = fetch(root + "/_/stats")
            self.assertEqual((stats["calls"], stats["in_flight"], stats["max_in_flight"]), (3, 0, 1))
            self.assertEqual(stats["by_text"], {"hello": 3})
            self.assertEqual([seen["body"] for seen in fetch(root + "/_/requests")], [ask] * 3)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=10), 0)

    def text(self, answer: Any) -> str:
        return answer["choices"][0]["message"]["content"]


class TestItsMemory(unittest.TestCase):
    def test_only_the_last_requests_are_kept(self) -> None:
        with ModelPeer(keep=2) as peer:
            for number in range(4):
                message = {"role": "user", "content": str(number)}
                fetch(peer.base_url + "/chat/completions", {"model": "m", "messages": [message]})
            self.assertEqual([request["text"] for request in peer.requests], ["2", "3"])
            self.assertEqual(peer.stats["calls"], 4)
