"""What becomes of a tool's result: failures, time-outs, and results that are too long."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest import mock

from django.test import override_settings

from gateway_app.agent.registry import ToolError
from gateway_app.models import ToolOutput, TranscriptMessage, Turn
from tests import pipeline
from tests.agent_case import AgentCase, calls


class ContextTests(AgentCase):
    def test_results_that_are_too_much_for_the_model_are_cut_for_the_request_and_kept_in_the_transcript(self) -> None:
        async def book(args: dict[str, Any], **kwargs: Any) -> str:
            return "x" * 10_000

        self.use(book)
        self.model.script.add(tool_calls=calls("tool", "tool"))
        self.model.script.add(times=2, status=400, error={"code": "context_length_exceeded"})
        self.model.script.add(answer="Enough.")
        pipeline.accept("go")
        with self.assertLogs("gateway_app"):
            self.answer()
        self.assertEqual(self.platform.texts, ["Enough."])
        for result in self.results():
            self.assertTrue(result.startswith("x" * 2500))
            self.assertIn("Cut here", result)
            self.assertLess(len(result), 2700)
        kept = TranscriptMessage.objects.filter(role="tool").values_list("content", flat=True)
        self.assertEqual([len(text) for text in kept], [10_000, 10_000])

    def test_where_nothing_is_left_to_cut_the_person_is_told(self) -> None:
        self.model.script.add(times=None, status=400, error={"code": "context_length_exceeded"})
        pipeline.accept("go")
        self.answer()
        self.assertIn("too long for the language model", self.platform.texts[0])
        self.assertEqual(self.model.stats["calls"], 1)


class ToolFaultTests(AgentCase):
    def ask(self) -> str:
        self.model.script.add(tool_calls=calls("tool"))
        pipeline.accept("go")
        self.answer()
        return self.results()[-1]

    @override_settings(TOOL_TIMEOUT_SECONDS=0.1)
    def test_a_tool_that_hangs_is_stopped_and_reported(self) -> None:
        stopped: list[bool] = []

        async def hang(args: dict[str, Any], **kwargs: Any) -> str:
            try:
                await asyncio.sleep(60)
            finally:
                stopped.append(True)
            return ""

        self.use(hang)
        with self.assertLogs("gateway_app"):
            self.assertIn("took longer than 0.1 s and was stopped", self.ask())
        self.assertEqual(stopped, [True])

    def test_a_tool_may_have_a_limit_of_its_own(self) -> None:
        async def hang(args: dict[str, Any], **kwargs: Any) -> str:
            await asyncio.sleep(60)
            return ""

        self.use(hang, timeout_seconds=0.05)
        with self.assertLogs("gateway_app"):
            self.assertIn("longer than 0.05 s", self.ask())

    def test_an_error_that_a_tool_did_not_mean_to_show_says_nothing(self) -> None:
        async def fail(args: dict[str, Any], **kwargs: Any) -> str:
            raise OSError("/etc/secret: token sk-12345")

        self.use(fail)
        with self.assertLogs("gateway_app"):
            self.assertEqual(json.loads(self.ask()), {"error": "The tool failed."})

    def test_an_error_that_a_tool_means_to_show_is_shown(self) -> None:
        async def refuse(args: dict[str, Any], **kwargs: Any) -> str:
            raise ToolError("The shop is closed on Sundays.")

        self.use(refuse)
        self.assertEqual(json.loads(self.ask()), {"error": "The shop is closed on Sundays."})

    def test_a_tool_that_cancels_itself_costs_the_turn_nothing(self) -> None:
        async def vanish(args: dict[str, Any], **kwargs: Any) -> str:
            raise asyncio.CancelledError

        self.use(vanish)
        with self.assertLogs("gateway_app"):
            self.assertEqual(json.loads(self.ask()), {"error": "The tool failed."})
        self.assertEqual(Turn.objects.get().attempts, 1)

    def test_a_result_that_no_column_takes_is_made_one(self) -> None:
        async def odd(args: dict[str, Any], **kwargs: Any) -> Any:
            return "a\0b\ud800c" if args["n"] else {"not": "text"}

        self.use(odd)
        self.assertEqual(self.ask(), '{"not": "text"}')
        self.model.script.add(tool_calls=calls(("tool", {"n": 1})))
        pipeline.accept("again")
        self.answer()
        self.assertEqual(self.results()[-1], "ab\ufffdc")

    def test_fifty_megabytes_are_cut_for_the_model_and_kept_up_to_a_bound(self) -> None:
        async def flood(args: dict[str, Any], **kwargs: Any) -> str:
            return "begin " + "x" * 50_000_000

        self.use(flood)
        found = self.ask()
        self.assertLess(len(found), 21_000)
        self.assertIn("4,980,000 of 5,000,000 characters left out", found)
        self.assertEqual(len(ToolOutput.objects.get().text), 5_000_000)


@override_settings(TOOL_RESULT_MAX_CHARS=1000)
class LongResultTests(AgentCase):
    def setUp(self) -> None:
        super().setUp()

        async def book(args: dict[str, Any], **kwargs: Any) -> str:
            return "".join(f"line {number:05} of {args['n']}\n" for number in range(1000))

        self.use(book)

    def read(self, user: str = "ann", **arguments: Any) -> str:
        self.model.script.add(tool_calls=calls(("tool_output", arguments)))
        pipeline.accept("read on", user=user)
        self.answer(user)
        return self.results()[-1]

    def long_result(self) -> str:
        self.model.script.add(tool_calls=calls("tool"))
        pipeline.accept("go")
        self.answer()
        return self.results()[-1]

    def test_the_two_ends_are_shown_and_the_rest_can_be_read(self) -> None:
        found = self.long_result()
        self.assertTrue(found.startswith("line 00000 of 0\n"))
        self.assertTrue(found.endswith("line 00999 of 0\n"))
        kept = ToolOutput.objects.get()
        self.assertIn(f'tool_output with reference "{kept.reference}"', found)
        page = self.read(reference=kept.reference, offset=750)
        self.assertTrue(page.startswith("[Characters 750 to 1,550 of 16,000; go on from offset 1550.]"), page[:80])
        self.assertEqual(page.partition("\n\n")[2], kept.text[750:1550])
        self.assertIn("this is the end", self.read(reference=kept.reference, offset=15_900))
        self.assertIn("has 16,000 characters", self.read(reference=kept.reference, offset=16_000))
        self.assertEqual(ToolOutput.objects.count(), 1)

    def test_another_session_does_not_find_it(self) -> None:
        self.long_result()
        self.assertIn("no such result", self.read("bob", reference=ToolOutput.objects.get().reference))

    def test_a_branch_finds_it_since_its_history_speaks_of_it_and_a_new_conversation_does_not(self) -> None:
        self.long_result()
        reference = ToolOutput.objects.get().reference
        pipeline.accept("/branch")
        self.answer()
        self.assertIn("[Characters 0 to ", self.read(reference=reference))
        pipeline.accept("/new")
        self.answer()
        self.assertIn("no such result", self.read(reference=reference))

    def test_only_the_newest_are_kept(self) -> None:
        with mock.patch("gateway_app.agent.results.KEPT_PER_SESSION", 2):
            for _ in range(4):
                self.long_result()
        self.assertEqual(ToolOutput.objects.count(), 2)
