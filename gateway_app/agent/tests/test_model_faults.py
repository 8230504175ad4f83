"""What the model client makes of servers that fail, each fault over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from email.utils import formatdate

from gateway_app.agent.model_client import ModelErrorKind
from gateway_app.agent.tests.model_case import HELLO, ModelCase

TOO_LONG = {"code": "context_length_exceeded", "message": "This model's maximum context length is 8192 tokens."}


class TestRefusals(ModelCase):
    async def test_a_400_is_told_at_once(self) -> None:
        self.peer.script.add(times=None, status=400, error={"message": "no such thing"})
        error = await self.failure(models=("first", "second"))
        self.assertEqual((error.kind, error.status, error.detail), (ModelErrorKind.BAD_REQUEST, 400, "no such thing"))
        self.assertEqual(self.asked, ["first"])

    async def test_a_401_and_a_403_are_told_at_once_whatever_models_are_left(self) -> None:
        for status in (401, 403):
            with self.subTest(status=status):
                self.peer.script.add(status=status)
                error = await self.failure(models=("first", "second"))
                self.assertEqual(error.kind, ModelErrorKind.AUTHENTICATION)
        self.assertEqual(self.asked, ["first", "first"])

    async def test_the_key_is_in_no_detail_even_where_the_server_repeats_it(self) -> None:
        self.peer.script.add(status=401, error={"message": "Incorrect API key provided: my-private-key\n\0!"})
        error = await self.failure(api_key="my-private-key")
        self.assertNotIn("my-private-key", f"{error} {error!r} {error.explanation}")
        self.assertEqual(error.detail, "Incorrect API key provided: [key] !")

    async def test_a_long_detail_is_cut(self) -> None:
        self.peer.script.add(status=400, error={"message": "long " * 10_000})
        self.assertLessEqual(len((await self.failure()).detail), 300)

    async def test_an_unknown_model_gives_way_to_the_next(self) -> None:
        self.peer.models = ("second",)
        reply = await self.ask(models=("first", "second"))
        self.assertEqual((reply.model, self.asked, self.slept), ("second", ["first", "second"], []))

    async def test_a_400_that_is_the_models_gives_way_to_the_next(self) -> None:
        faults = {
            ModelErrorKind.NOT_FOUND: {"param": "model", "message": "invalid model ID"},
            ModelErrorKind.UNSUPPORTED: {"message": "first does not support tools"},
            ModelErrorKind.CONTEXT_TOO_LONG: TOO_LONG,
        }
        for kind, error in faults.items():
            with self.subTest(kind=kind):
                self.peer.script.set()
                self.peer.script.add(model="first", status=400, error=error, times=2)
                self.assertEqual((await self.ask(models=("first", "second"))).model, "second")
                self.assertEqual((await self.failure()).kind, kind)

    async def test_when_every_model_fails_the_preferred_models_error_is_told(self) -> None:
        self.peer.script.add(model="first", status=400, error=TOO_LONG)
        self.peer.script.add(model="second", status=404)
        error = await self.failure(models=("first", "second"))
        self.assertEqual(error.kind, ModelErrorKind.CONTEXT_TOO_LONG)
        self.assertIn("start a new one", error.explanation)

    async def test_a_used_up_account_is_not_asked_again(self) -> None:
        self.peer.script.add(times=None, status=429, error={"code": "insufficient_quota"})
        self.assertEqual((await self.failure()).kind, ModelErrorKind.QUOTA)
        self.assertEqual(self.peer.stats["calls"], 1)

    async def test_a_redirect_is_not_followed(self) -> None:
        self.peer.script.add(status=307, headers={"Location": "http://127.0.0.1:1/"}, body=b"")
        self.assertEqual((await self.failure()).kind, ModelErrorKind.NOT_FOUND)

    async def test_a_refusal_that_is_not_json_is_understood_by_its_status(self) -> None:
        for body in (b"<html>go away</html>", b"[" * 60_000, b"\xff\0", b"", b'{"error": "no"}', b'[{"error": {}}]'):
            with self.subTest(body=body[:20]):
                self.peer.script.add(status=403, body=body)
                self.assertEqual((await self.failure()).kind, ModelErrorKind.AUTHENTICATION)


class TestFailuresThatMayPass(ModelCase):
    async def test_each_passing_status_is_retried(self) -> None:
        for status in (408, 409, 425, 429, 500, 502, 503, 504, 529):
            with self.subTest(status=status):
                self.peer.script.add(status=status)
                self.assertEqual((await self.ask()).text, "echo: hello")

    async def test_a_server_that_keeps_failing_is_asked_as_often_as_configured_and_then_told(self) -> None:
        self.peer.script.add(times=None, status=500, error={"message": "out of order"})
        error = await self.failure(retries=2)
        self.assertEqual((error.kind, error.status, error.detail), (ModelErrorKind.SERVER, 500, "out of order"))
        self.assertEqual(len(self.asked), 3)

    async def test_a_model_that_keeps_failing_gives_way_to_the_next(self) -> None:
        for status in (429, 503):
            with self.subTest(status=status):
                self.peer.script.set()
                self.peer.script.add(times=None, model="first", status=status)
                self.assertEqual((await self.ask(models=("first", "second"), retries=1)).model, "second")
        self.assertEqual(self.asked, ["first", "first", "second"] * 2)

    async def test_the_wait_doubles_at_most_and_is_different_each_time(self) -> None:
        self.peer.script.add(times=None, status=500)
        await self.failure(retries=8, backoff_seconds=1, backoff_max_seconds=16)
        ceilings = [1, 2, 4, 8, 16, 16, 16, 16]
        self.assertTrue(all(0 <= wait <= most for wait, most in zip(self.slept, ceilings, strict=True)), self.slept)
        self.assertEqual(len(set(self.slept)), 8)
        # All five below a sixteenth of their ceiling would be one chance in a million.
        self.assertGreater(max(self.slept), 1)

    async def test_a_429_is_retried_after_the_time_it_names(self) -> None:
        self.peer.script.add(status=429, headers={"Retry-After": "7"})
        await self.ask(backoff_seconds=0.5)
        (wait,) = self.slept
        self.assertTrue(7 <= wait <= 7.5, wait)

    async def test_the_time_may_be_named_as_a_date(self) -> None:
        self.peer.script.add(status=503, headers={"Retry-After": formatdate(time.time() + 40, usegmt=True)})
        await self.ask(backoff_seconds=0)
        (wait,) = self.slept
        self.assertTrue(30 < wait <= 40, wait)

    async def test_a_time_that_is_past_or_nonsense_counts_as_none(self) -> None:
        for named in ("Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-5", "1e9", "", "nan"):
            with self.subTest(named=named):
                self.slept.clear()
                self.peer.script.add(status=429, headers={"Retry-After": named})
                await self.ask(backoff_seconds=0)
                self.assertEqual(self.slept, [0])

    async def test_a_time_beyond_the_bound_is_not_waited_for(self) -> None:
        self.peer.script.add(times=None, model="first", status=429, headers={"Retry-After": "600"})
        reply = await self.ask(models=("first", "second"), retry_after_max_seconds=60)
        self.assertEqual((reply.model, self.slept), ("second", []))
        error = await self.failure(retry_after_max_seconds=60)
        self.assertEqual((error.kind, error.retry_after), (ModelErrorKind.RATE_LIMITED, 600))
        self.assertIn("in about 10 minutes", error.explanation)

    async def test_a_refused_connection_is_retried_and_then_told(self) -> None:
        self.peer.stop()
        self.addCleanup(self.peer.start)
        error = await self.failure(retries=2, models=("first", "second"))
        self.assertEqual(error.kind, ModelErrorKind.CONNECTION)
        self.assertEqual(len(self.slept), 2)
        self.assertIn("could not be reached", error.explanation)

    async def test_a_server_that_comes_back_between_two_tries_answers(self) -> None:
        self.peer.stop()

        async def start_instead_of_sleeping(seconds: float) -> None:
            await asyncio.to_thread(self.peer.start)

        self.sleep = start_instead_of_sleeping
        self.assertEqual((await self.ask()).text, "echo: hello")

    async def test_a_server_that_accepts_and_hangs_up_is_retried(self) -> None:
        self.peer.script.add(times=None, cut="drop")
        self.assertEqual((await self.failure(retries=1)).kind, ModelErrorKind.CONNECTION)
        self.assertEqual(len(self.asked), 2)

    async def test_a_server_that_says_nothing_is_asked_once_more_and_then_given_up(self) -> None:
        self.peer.script.add(times=None, model="first", cut="hang")
        error = await self.failure(timeout_seconds=0.1, retries=5)
        self.assertEqual((error.kind, len(self.asked)), (ModelErrorKind.TIMEOUT, 2))
        self.assertEqual((await self.ask(timeout_seconds=0.1, models=("first", "second"))).model, "second")

    async def test_a_server_that_falls_silent_in_the_middle_times_out(self) -> None:
        self.peer.script.add(times=None, cut="hang", cut_after=1)
        for streamed in (False, True):
            with self.subTest(streamed=streamed):
                error = await self.failure(timeout_seconds=0.1, streamed=streamed)
                self.assertEqual(error.kind, ModelErrorKind.TIMEOUT)

    async def test_a_slow_stream_that_is_never_silent_for_long_does_not_time_out(self) -> None:
        self.peer.script.add(answer="x" * 16, piece_chars=1, piece_delay=0.05)
        self.assertEqual((await self.stream(timeout_seconds=0.5)).text, "x" * 16)
        self.assertEqual(len(self.asked), 1)

    async def test_a_connection_that_is_never_accepted_is_given_up_by_its_own_shorter_limit(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            full = [socket.socket() for _ in range(3)]
            for waiting in full:
                self.addCleanup(waiting.close)
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            error = await self.failure(base_url=url, connect_seconds=0.2, timeout_seconds=60, retries=1)
        self.assertEqual((error.kind, len(self.slept)), (ModelErrorKind.CONNECTION, 1))


class TestDamagedReplies(ModelCase):
    GARBAGE = {
        "no JSON": "<html>hello</html>",
        "nothing": "",
        "a list": "[]",
        "a number": "42",
        "deep nesting": "[" * 100_000,
        "no choices": '{"id": "x"}',
        "choices that are text": '{"choices": "x"}',
        "a choice that is text": '{"choices": ["x"]}',
        "a message that is a list": '{"choices": [{"message": [1]}]}',
        "content that is a number": '{"choices": [{"message": {"content": 7}}]}',
        "calls that are an object": '{"choices": [{"message": {"tool_calls": {"a": 1}}}]}',
        "a call that is text": '{"choices": [{"message": {"tool_calls": ["a"]}}]}',
        "a call without a name": '{"choices": [{"message": {"tool_calls": [{"id": "a", "function": {}}]}}]}',
    }

    async def test_whatever_a_server_sends_instead_of_a_reply_is_retried_and_then_told(self) -> None:
        for name, body in self.GARBAGE.items():
            for content_type in ("application/json", "text/event-stream"):
                with self.subTest(name, content_type=content_type):
                    sent = f"data: {body}\n\n" if content_type == "text/event-stream" else body
                    self.peer.script.set()
                    self.peer.script.add(times=None, body=sent.encode(), content_type=content_type)
                    before = self.peer.stats["calls"]
                    error = await self.failure(retries=1, streamed=True)
                    self.assertEqual(error.kind, ModelErrorKind.INVALID_REPLY)
                    self.assertEqual(self.peer.stats["calls"] - before, 2)

    async def test_a_reply_after_garbage_is_the_reply(self) -> None:
        self.peer.script.add(body=b"{")
        self.assertEqual((await self.ask()).text, "echo: hello")

    async def test_an_empty_answer_is_retried_and_then_told(self) -> None:
        for answer in ("", " \n"):
            for streamed in (False, True):
                with self.subTest(answer=answer, streamed=streamed):
                    self.peer.script.set()
                    self.peer.script.add(times=2, answer=answer)
                    before = self.peer.stats["calls"]
                    error = await self.failure(retries=1, streamed=streamed)
                    self.assertEqual(error.kind, ModelErrorKind.EMPTY_REPLY)
                    self.assertEqual(self.peer.stats["calls"] - before, 2)
                    self.assertEqual((await self.ask()).text, "echo: hello")

    async def test_an_answer_withheld_by_a_filter_is_told_as_that(self) -> None:
        self.peer.script.add(times=None, answer="", finish_reason="content_filter")
        self.assertEqual((await self.failure()).kind, ModelErrorKind.REFUSED)
        self.assertEqual(len(self.asked), 1)

    async def test_an_error_inside_a_reply_of_status_200_is_an_error(self) -> None:
        error = '{"error": {"message": "overloaded", "code": 429}}'
        for body, content_type in ((error, "application/json"), (f"data: {error}\n\n", "text/event-stream")):
            with self.subTest(content_type=content_type):
                self.peer.script.set()
                self.peer.script.add(times=None, body=body.encode(), content_type=content_type)
                found = await self.failure(streamed=True, retries=0)
                self.assertEqual((found.kind, found.detail), (ModelErrorKind.RATE_LIMITED, "overloaded"))

    async def test_a_body_that_breaks_off_is_retried_and_then_told(self) -> None:
        for cut in ("drop", "end"):
            for streamed in (False, True):
                with self.subTest(cut=cut, streamed=streamed):
                    self.peer.script.set()
                    self.peer.script.add(times=2, cut=cut, cut_after=1)
                    error = await self.failure(retries=1, streamed=streamed)
                    self.assertEqual(error.kind, ModelErrorKind.INVALID_REPLY)
                    self.assertEqual((await self.ask()).text, "echo: hello")

    async def test_a_body_larger_than_the_bound_is_not_read_to_its_end(self) -> None:
        self.peer.script.add(times=None, answer="x" * 100_000)
        for streamed in (False, True):
            with self.subTest(streamed=streamed):
                error = await self.failure(reply_max_bytes=10_000, retries=0, streamed=streamed)
                self.assertEqual(error.kind, ModelErrorKind.INVALID_REPLY)
                self.assertIn("10000 bytes", error.detail)

    async def test_a_compressed_body_that_is_none_is_damaged(self) -> None:
        self.peer.script.add(times=None, body=b"not gzip", headers={"Content-Encoding": "gzip"})
        self.assertEqual((await self.failure(retries=1)).kind, ModelErrorKind.INVALID_REPLY)
        self.assertEqual(len(self.asked), 2)

    async def test_a_server_that_does_not_speak_http_is_damaged(self) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n    \r\nno size\r\n"
        for sent in (b"what is this\r\n\r\n", chunked % b"application/json", chunked % b"text/event-stream"):

            async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes = sent) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(sent)
                await writer.drain()
                await reader.read()
                writer.close()

            with self.subTest(sent=sent):
                async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
                    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
                    error = await self.failure(base_url=url, streamed=True, retries=1)
                self.assertEqual(error.kind, ModelErrorKind.INVALID_REPLY)
                self.assertEqual(len(self.slept), 1)
                self.slept.clear()

    async def test_a_bomb_is_bounded_by_what_it_unpacks_to(self) -> None:
        bomb = gzip.compress(b" " * 20_000_000)
        self.peer.script.add(times=None, body=bomb, headers={"Content-Encoding": "gzip"})
        error = await self.failure(retries=0)
        self.assertIn("8388608 bytes", error.detail)


class TestAStreamThatFailsAfterItWasRead(ModelCase):
    async def test_the_reader_is_told_to_start_again_and_sees_one_text(self) -> None:
        self.peer.script.add(answer="first try", piece_chars=5, cut="drop", cut_after=1)
        reply = await self.stream()
        self.assertEqual(reply.text, "echo: hello")
        self.assertEqual(self.shown, ["first", "<restart>", "echo: he", "llo"])

    async def test_a_reader_that_cannot_start_again_is_shown_nothing_more(self) -> None:
        self.peer.script.add(answer="first try", piece_chars=5, cut="drop", cut_after=1)
        reply = await self.stream(restarts=False)
        self.assertEqual(reply.text, "echo: hello")
        self.assertEqual(self.shown, ["first"])

    async def test_the_text_of_one_model_does_not_stay_when_another_replies(self) -> None:
        self.peer.script.add(times=None, model="first", answer="first try", piece_chars=5, cut="end", cut_after=1)
        await self.stream(models=("first", "second"), retries=1)
        self.assertEqual(self.shown, ["first", "<restart>", "first", "<restart>", "echo: he", "llo"])

    async def test_a_voided_text_does_not_stay_where_the_reply_has_none(self) -> None:
        self.peer.script.add(answer="first try", piece_chars=5, cut="drop", cut_after=1)
        self.peer.script.add(tool_calls=({"name": "clock", "arguments": "{}"},))
        self.assertEqual(len((await self.stream()).tool_calls), 1)
        self.assertEqual(self.shown, ["first", "<restart>"])

    async def test_a_stream_cut_after_the_model_had_finished_is_a_reply(self) -> None:
        for cut in ("drop", "end", "hang"):
            with self.subTest(cut=cut):
                self.peer.script.add(answer="done", piece_chars=10, cut=cut, cut_after=2)
                reply = await self.stream(timeout_seconds=3600)
                self.assertEqual((reply.text, reply.finish_reason, reply.usage_estimated), ("done", "stop", True))
        self.assertEqual(len(self.asked), 3)


class TestCancellation(ModelCase):
    async def test_a_cancelled_call_closes_its_connection(self) -> None:
        self.peer.script.add(cut="hang")
        call = asyncio.create_task(self.client().complete(HELLO))
        await self.until(in_flight=1)
        call.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await call
        await self.until(in_flight=0, cut=1)

    async def until(self, **wanted: int) -> None:
        for _ in range(500):
            if self.peer.stats.items() >= wanted.items():
                return
            await asyncio.sleep(0.01)
        self.fail(f"{self.peer.stats} never became {wanted}")
