"""Requests and replies of the model client, over real sockets."""

from __future__ import annotations

import asyncio
import json

from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from gateway_app.agent.model_client import ModelConfig, ModelReply, ToolCall
from gateway_app.agent.tests.model_case import HELLO, ModelCase

CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
ASK_THE_TIME = [{"role": "user", "content": 'call:clock {"zone": "Europe/Zürich"}'}]


class TestAWholeReply(ModelCase):
    async def test_text_model_reason_and_usage_are_the_servers(self) -> None:
        reply = await self.ask([{"role": "user", "content": "grüezi 😀"}])
        self.assertEqual(reply.text, "echo: grüezi 😀")
        self.assertEqual((reply.model, reply.finish_reason, reply.tool_calls), ("first", "stop", ()))
        self.assertEqual(reply.completion_tokens, len(reply.text) // 3)
        self.assertFalse(reply.usage_estimated)
        self.assertGreater(reply.seconds, 0)

    async def test_the_request_carries_model_limit_key_and_nothing_unasked(self) -> None:
        await self.ask(api_key="sk-secret-1", max_output_tokens=77)
        request = self.peer.requests[0]
        self.assertEqual(request["body"], {"model": "first", "messages": HELLO, "max_tokens": 77})
        self.assertEqual(request["headers"]["Authorization"], "Bearer sk-secret-1")

    async def test_the_limit_goes_by_the_name_the_server_knows(self) -> None:
        await self.ask(limit_field="max_completion_tokens", max_output_tokens=77)
        self.assertEqual(self.peer.requests[0]["body"]["max_completion_tokens"], 77)
        self.assertNotIn("max_tokens", self.peer.requests[0]["body"])

    async def test_without_a_key_no_authorization_is_sent(self) -> None:
        await self.ask()
        self.assertNotIn("Authorization", self.peer.requests[0]["headers"])

    async def test_a_lone_surrogate_in_a_message_does_not_make_a_request_that_is_refused(self) -> None:
        reply = await self.ask([{"role": "user", "content": "broken \ud83d emoji"}])
        self.assertEqual(reply.text, "echo: broken ? emoji")

    async def test_usage_that_the_server_leaves_out_is_estimated_and_says_so(self) -> None:
        self.peer.script.add(usage=False, answer="x" * 40)
        reply = await self.ask()
        self.assertTrue(reply.usage_estimated)
        self.assertEqual(reply.completion_tokens, 10)
        self.assertGreater(reply.prompt_tokens, 10)

    async def test_a_tool_call_and_its_result_make_a_conversation_that_a_strict_server_accepts(self) -> None:
        reply = await self.ask(ASK_THE_TIME, tools=[CLOCK])
        (call,) = reply.tool_calls
        self.assertEqual((call.name, json.loads(call.arguments)), ("clock", {"zone": "Europe/Zürich"}))
        self.assertEqual((reply.text, reply.finish_reason), ("", "tool_calls"))
        result = {"role": "tool", "tool_call_id": call.id, "content": "noon"}
        final = await self.ask([*ASK_THE_TIME, reply.to_message(), result], tools=[CLOCK])
        self.assertEqual(final.text, "tool said: noon")

    async def test_the_path_is_added_before_a_query_of_the_base_url(self) -> None:
        client = self.client(base_url=self.peer.base_url + "?api-version=7")
        await client.complete(HELLO)
        self.assertEqual(self.peer.requests[0]["path"], "/v1/chat/completions?api-version=7")

    async def test_calls_run_side_by_side(self) -> None:
        self.peer.script.set_from_json({"default": {"together": 50}})
        client = self.client()
        replies = await asyncio.gather(
            *(client.complete([{"role": "user", "content": f"question {number}"}]) for number in range(50))
        )
        self.assertEqual([reply.text for reply in replies], [f"echo: question {number}" for number in range(50)])
        self.assertEqual(self.peer.stats["max_in_flight"], 50)


class TestAStreamedReply(ModelCase):
    async def test_the_pieces_add_up_to_the_reply_and_usage_comes_last(self) -> None:
        reply = await self.stream([{"role": "user", "content": "a somewhat longer text, grüezi 😀"}])
        self.assertEqual(reply.text, "echo: a somewhat longer text, grüezi 😀")
        self.assertEqual("".join(self.shown), reply.text)
        self.assertGreater(len(self.shown), 3)
        self.assertEqual(reply.completion_tokens, len(reply.text) // 3)
        self.assertFalse(reply.usage_estimated)
        self.assertEqual(self.peer.requests[0]["body"]["stream_options"], {"include_usage": True})

    async def test_a_piece_is_passed_on_before_the_reply_is_complete(self) -> None:
        self.peer.script.add(answer="one two", piece_chars=4, cut="hang", cut_after=1)
        seen = asyncio.Event()

        async def on_delta(text: str) -> None:
            seen.set()

        call = asyncio.create_task(self.client().complete(HELLO, on_delta=on_delta))
        async with asyncio.timeout(5):
            await seen.wait()
        self.assertFalse(call.done())
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    async def test_a_stream_cut_into_single_bytes_is_read_the_same(self) -> None:
        self.peer.script.add(slice_bytes=1, answer="grüezi 😀")
        self.assertEqual((await self.stream()).text, "grüezi 😀")
        self.assertEqual("".join(self.shown), "grüezi 😀")

    async def test_two_tool_calls_in_fragments_are_put_together(self) -> None:
        lines = 'call:clock {"zone": "A"}\ncall:clock {"zone": "B"}'
        reply = await self.stream([{"role": "user", "content": lines}], tools=[CLOCK])
        self.assertEqual([json.loads(call.arguments)["zone"] for call in reply.tool_calls], ["A", "B"])
        self.assertEqual(len({call.id for call in reply.tool_calls}), 2)
        self.assertEqual(self.shown, [])

    async def test_usage_is_estimated_where_the_stream_has_none(self) -> None:
        self.peer.script.add(usage=False, answer="x" * 40)
        reply = await self.stream()
        self.assertTrue(reply.usage_estimated)
        self.assertEqual(reply.completion_tokens, 10)

    async def test_a_server_that_refuses_stream_options_is_not_sent_them(self) -> None:
        await self.stream(stream_usage=False)
        self.assertNotIn("stream_options", self.peer.requests[0]["body"])

    async def test_a_server_that_does_not_stream_is_understood(self) -> None:
        self.peer.script.add(streams=False)
        self.assertEqual((await self.stream()).text, "echo: hello")
        self.assertEqual(self.shown, ["echo: hello"])

    async def test_a_stream_that_names_no_reason_ends_with_its_last_event_even_if_that_is_not_terminated(self) -> None:
        body = b'data: {"choices": [{"delta": {"content": "hi"}}]}\n\ndata: [DONE]'
        self.peer.script.add(body=body, content_type="text/event-stream")
        reply = await self.stream(retries=0)
        self.assertEqual((reply.text, reply.finish_reason), ("hi", "stop"))

    async def test_the_connection_of_a_finished_stream_is_used_again(self) -> None:
        # The pieces come one by one, so that the end of the body arrives after the end of the stream.
        self.peer.script.add(times=None, answer="short", piece_delay=0.02)
        for _ in range(3):
            await self.stream()
        self.assertEqual(len({request["peer_port"] for request in self.peer.requests}), 1)

    async def test_an_error_of_the_reader_ends_the_call_and_is_not_retried(self) -> None:
        async def on_delta(text: str) -> None:
            raise ConnectionError("the reader's own connection")

        with self.assertRaisesRegex(ConnectionError, "the reader's own connection"):
            await self.client().complete(HELLO, on_delta=on_delta)
        self.assertEqual(self.peer.stats["calls"], 1)


class TestTheJournalsForm(ModelCase):
    async def test_a_reply_survives_json(self) -> None:
        reply = ModelReply(
            text="a",
            tool_calls=(ToolCall(id="1", name="clock", arguments="{broken"),),
            finish_reason="tool_calls",
            model="first",
            prompt_tokens=3,
            completion_tokens=4,
            seconds=0.5,
            usage_estimated=True,
        )
        self.assertEqual(ModelReply.from_json(json.loads(json.dumps(reply.to_json()))), reply)


class TestTheConfiguration(ModelCase):
    @override_settings(OPENAI_BASE_URL="http://127.0.0.1:9/v1", OPENAI_API_KEY="sk-secret-1", HERMES_MODEL="a")
    @override_settings(MODEL_FALLBACKS=["b", "a"])
    def test_it_is_read_from_the_settings_and_never_shows_the_key(self) -> None:
        config = ModelConfig.from_settings()
        self.assertEqual((config.models, config.api_key), (("a", "b"), "sk-secret-1"))
        self.assertNotIn("sk-secret-1", repr(config))

    @override_settings(OPENAI_BASE_URL="")
    def test_a_missing_address_is_named(self) -> None:
        with self.assertRaisesRegex(ImproperlyConfigured, "OPENAI_BASE_URL"):
            ModelConfig.from_settings()
