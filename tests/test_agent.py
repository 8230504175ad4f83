"""The agent's loop in the pipeline: rounds of tool calls, their limits, and what a killed worker leaves to the next."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any
from unittest import mock

from django.test import override_settings

from gateway_app.agent.registry import Registry, Tool, ToolError
from gateway_app.agent.tools import tool_output
from gateway_app.models import ToolOutput, TranscriptMessage, Turn, TurnStep
from gateway_app.turns import journal, runner
from tests import pipeline
from tests.configuration import configured
from tests.pipeline_case import Killed, PipelineTestCase, expire_leases

ANYTHING = {"type": "object", "properties": {"n": {"type": "integer"}}}


def calls(*wanted: str | tuple[str, Any], ids: tuple[str, ...] = ()) -> tuple[dict[str, str], ...]:
    """Tool calls for the script: names, or names with their arguments."""
    found = []
    for number, call in enumerate(wanted):
        name, arguments = (call, {"n": number}) if isinstance(call, str) else call
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        found.append({"name": name, "arguments": text, "id": ids[number] if ids else f"id{number}"})
    return tuple(found)


class AgentCase(PipelineTestCase):
    """Tools that are counted: `look` only reads, `pay` may not be repeated, `note` may but runs alone."""

    def setUp(self) -> None:
        super().setUp()
        self.runs: Counter[str] = Counter()
        self.order: list[str] = []
        self.under_way = self.most_under_way = 0
        tools = [
            Tool("look", "Looks.", ANYTHING, self.look, is_repeatable=True, is_parallel=True),
            Tool("pay", "Pays.", ANYTHING, self.pay),
            Tool("note", "Notes.", ANYTHING, self.note, is_repeatable=True),
            tool_output.TOOL,
        ]
        self.tools = Registry(tools)
        self.enterContext(mock.patch.object(runner, "tool_registry", lambda context: self.tools))

    async def look(self, args: dict[str, Any], **kwargs: Any) -> str:
        return await self.work("look", args, seconds=0.03 * (4 - args["n"] % 4))

    async def pay(self, args: dict[str, Any], **kwargs: Any) -> str:
        return await self.work("pay", args)

    async def note(self, args: dict[str, Any], **kwargs: Any) -> str:
        return await self.work("note", args)

    async def work(self, name: str, args: dict[str, Any], seconds: float = 0) -> str:
        self.runs[f"{name} {args['n']}"] += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.under_way -= 1
        self.order.append(f"{name} {args['n']}")
        return f"did {name} {args['n']}"

    def use(self, handler: Any, **values: Any) -> None:
        """One tool, `tool`, beside `tool_output`."""
        self.tools = Registry(
            [Tool("tool", "A tool.", ANYTHING, handler, is_repeatable=True, **values), tool_output.TOOL]
        )

    def results(self) -> list[str]:
        """The tool results of the newest model call."""
        messages = self.model.requests[-1]["body"]["messages"]
        return [message["content"] for message in messages if message["role"] == "tool"]


class RoundTests(AgentCase):
    def test_calls_that_only_read_run_at_once_and_their_results_keep_the_order_of_the_calls(self) -> None:
        self.model.script.add(tool_calls=calls("look", "look", "look", "look"))
        pipeline.accept("go")
        self.answer()
        self.assertEqual(self.most_under_way, 4)
        self.assertEqual(self.order, ["look 3", "look 2", "look 1", "look 0"])
        self.assertEqual(self.results(), [f"did look {n}" for n in range(4)])
        said = TranscriptMessage.objects.filter(role="tool").order_by("id").values_list("tool_call_id", flat=True)
        self.assertEqual(list(said), ["id0", "id1", "id2", "id3"])

    @override_settings(TOOLS_PARALLEL=3)
    def test_no_more_run_at_once_than_are_allowed(self) -> None:
        self.model.script.add(tool_calls=calls(*["look"] * 8))
        pipeline.accept("go")
        self.answer()
        self.assertEqual(self.most_under_way, 3)
        self.assertEqual(sum(self.runs.values()), 8)

    def test_a_call_that_changes_something_waits_for_those_before_it_and_holds_up_those_behind_it(self) -> None:
        self.model.script.add(tool_calls=calls("look", "look", "pay", "note", "look", "look"))
        pipeline.accept("go")
        self.answer()
        self.assertCountEqual(self.order[:2], ["look 0", "look 1"])
        self.assertEqual(self.order[2:4], ["pay 2", "note 3"])
        self.assertEqual(self.most_under_way, 2)
        self.assertEqual(len(self.results()), 6)

    def test_what_a_call_starts_is_journaled_with_the_result_before_it(self) -> None:
        self.model.script.add(tool_calls=calls("pay", "pay", "pay"))
        pipeline.accept("go")
        with mock.patch.object(journal, "record", wraps=journal.record) as record:
            self.answer()
        self.assertEqual(
            [[step.kind.value for step in call.kwargs["steps"]] for call in record.call_args_list],
            [
                ["model_reply", "tool_started"],
                ["tool_result", "tool_started"],
                ["tool_result", "tool_started"],
                ["tool_result"],
            ],
        )

    def test_a_turn_of_many_rounds_goes_on_until_the_model_answers(self) -> None:
        for round_number in range(3):
            self.model.script.add(tool_calls=calls(("look", {"n": round_number}), ids=("same",)))
        pipeline.accept("go")
        self.answer()
        self.assertEqual(self.results(), ["did look 0", "did look 1", "did look 2"])
        self.assertEqual(Turn.objects.get().state, "done")


class QuirkTests(AgentCase):
    def test_a_tool_that_there_is_not_and_arguments_that_are_none_are_explained(self) -> None:
        self.model.script.add(tool_calls=calls(("fly", {}), ("look", "{half"), ("look", "[1]"), ("look", {"n": "x"})))
        pipeline.accept("go")
        self.answer()
        unknown, half, array, text = self.results()
        self.assertIn("There is no tool 'fly'; there are: look, note, pay", unknown)
        self.assertIn("not JSON", half)
        self.assertIn("must be a JSON object", array)
        self.assertIn("n: 'x' is not of type 'integer'", text)
        self.assertEqual(self.runs, Counter())

    def test_a_name_and_arguments_that_no_server_takes_back_are_not_sent_back(self) -> None:
        self.model.script.add(tool_calls=calls(("do it now! " + "x" * 90, "not json")))
        pipeline.accept("go")
        self.answer()
        function = self.model.requests[-1]["body"]["messages"][-2]["tool_calls"][0]["function"]
        self.assertRegex(function["name"], r"^do_it_now__x+$")
        self.assertEqual(function["arguments"], "{}")
        self.assertEqual(Turn.objects.get().state, "done")

    def test_ids_that_are_given_twice_or_not_at_all_become_different_and_stay_so(self) -> None:
        self.model.script.add(tool_calls=calls("look", "look", "look", ids=("a", "a", "")))
        pipeline.accept("go")
        with mock.patch.object(runner, "close", side_effect=Killed), self.assertRaises(Killed):
            self.answer()
        first = self.model.requests[-1]["body"]["messages"]
        expire_leases()
        self.answer()
        self.assertEqual(self.model.requests[-1]["body"]["messages"], first)
        self.assertEqual(len({message["tool_call_id"] for message in first if message["role"] == "tool"}), 3)

    @override_settings(TOOLS_MAX_CALLS=10)
    def test_of_a_hundred_calls_in_one_reply_the_first_few_are_run(self) -> None:
        self.model.script.add(tool_calls=calls(*["look"] * 100, ids=tuple(f"id{n}" for n in range(100))))
        pipeline.accept("go")
        self.answer()
        self.assertEqual(sum(self.runs.values()), 10)
        results = self.results()
        self.assertEqual(len(results), 100)
        self.assertIn("one reply may call 10 tools, and this one called 100", results[10])

    def test_a_call_in_which_the_reply_ended_is_not_run(self) -> None:
        self.model.script.add(tool_calls=calls("look", ("pay", "")), finish_reason="length")
        pipeline.accept("go")
        self.answer()
        whole, cut = self.results()
        self.assertEqual(whole, "did look 0")
        self.assertIn("reached its length limit", cut)
        self.assertEqual(self.runs["pay 1"], 0)

    def test_a_stream_that_stops_in_a_call_is_asked_for_again(self) -> None:
        self.platform.is_streamed = True
        self.platform.stream = mock.AsyncMock()
        self.model.script.add(tool_calls=calls("pay"), cut="end", cut_after=1)
        self.model.script.add(tool_calls=calls("pay"))
        pipeline.accept("go")
        with self.assertLogs("gateway_app"):
            self.answer()
        self.assertEqual(self.runs["pay 0"], 1)

    def test_the_same_call_over_and_over_is_pointed_out_and_then_the_turn_sums_up(self) -> None:
        self.model.script.add(tool_calls=calls(("note", {"n": 7})), contains="go", times=6)
        self.model.script.add(answer="I did not get further.")
        pipeline.accept("go")
        with self.assertLogs("gateway_app"):
            self.answer()
        self.assertEqual(self.runs["note 7"], 5)
        results = self.results()
        self.assertEqual(results[1], "did note 7")
        self.assertIn("made 3 times in a row", results[2])
        self.assertIn("Not run", results[5])
        last = self.model.requests[-1]["body"]
        self.assertNotIn("tools", last)
        self.assertIn("over and over", last["messages"][-1]["content"])
        self.assertEqual(self.platform.texts, ["I did not get further."])

    def test_the_same_tool_with_other_arguments_is_no_loop(self) -> None:
        for number in range(8):
            self.model.script.add(tool_calls=calls(("note", {"n": number})))
        pipeline.accept("go")
        self.answer()
        self.assertEqual(sum(self.runs.values()), 8)
        self.assertIn("tool said: did note 7", self.platform.texts[0])


class BudgetTests(AgentCase):
    @override_settings(TURN_MAX_STEPS=3)
    def test_after_its_steps_the_turn_sums_up_without_tools(self) -> None:
        for number in range(3):
            self.model.script.add(tool_calls=calls(("note", {"n": number})))
        self.model.script.add(answer="Done: three notes. Open: the rest.")
        pipeline.accept("go")
        with self.assertLogs("gateway_app"):
            self.answer()
        self.assertEqual(self.model.stats["calls"], 4)
        self.assertIn("all 3 steps", self.model.requests[-1]["body"]["messages"][-1]["content"])
        self.assertEqual(self.platform.texts, ["Done: three notes. Open: the rest."])
        self.assertFalse(TranscriptMessage.objects.filter(content__contains="From the gateway").exists())

    @override_settings(TURN_MAX_STEPS=1, MODEL_RETRIES=0)
    def test_a_model_that_cannot_sum_up_leaves_the_person_an_answer_all_the_same(self) -> None:
        for behaviour in ({"status": 500}, {"tool_calls": calls("pay")}):
            self.model.script.set()
            self.model.script.add(tool_calls=calls("note"))
            self.model.script.add(**behaviour)
            pipeline.accept("go")
            with self.assertLogs("gateway_app"):
                self.answer()
            self.assertIn("it took too many steps", self.platform.texts[-1])
        self.assertEqual(self.runs["pay 0"], 0)
        self.assertEqual(list(Turn.objects.values_list("state", flat=True)), ["done", "done"])
        self.model.script.set()
        pipeline.accept("and now?")  # what was kept of it is a conversation that a strict server takes
        self.answer()
        self.assertEqual(self.platform.texts[-1], "echo: and now?")


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

    def test_only_the_newest_are_kept(self) -> None:
        with mock.patch("gateway_app.agent.results.KEPT_PER_SESSION", 2):
            for _ in range(4):
                self.long_result()
        self.assertEqual(ToolOutput.objects.count(), 2)


class ResumedRoundTests(AgentCase):
    """Kills the worker before and after each commit of the journal, and counts what was done twice."""

    ROUNDS = (("look", "look", "pay", "pay", "note"), ("look", "pay"))

    def script(self) -> None:
        self.model.script.set()
        numbers = iter(range(100))
        for names in self.ROUNDS:
            wanted = [(name, {"n": next(numbers)}) for name in names]
            self.model.script.add(tool_calls=calls(*wanted))

    def kill_at(self, commit: int, *, before: bool) -> bool:
        """Answers a message with a worker that dies at its nth commit; whether it came so far."""
        record, made = journal.record, 0

        def dying(*args: Any, **kwargs: Any) -> None:
            nonlocal made
            made += 1
            if before and made == commit:
                raise Killed
            record(*args, **kwargs)
            if made == commit:
                raise Killed

        pipeline.accept("go")
        with mock.patch.object(journal, "record", dying):
            try:
                self.answer()
            except Killed:
                expire_leases()
                return True
        return False

    @configured(compression={"enabled": False})  # many turns in one session, whose model calls are counted
    def test_whenever_the_worker_dies_nothing_that_ended_is_done_again(self) -> None:
        for before in (False, True):
            commit = 1
            while True:
                self.script()
                self.runs.clear()
                calls_before, turns = self.model.stats["calls"], Turn.objects.count()
                if not self.kill_at(commit, before=before):
                    break
                turn = Turn.objects.latest("id")
                steps = list(TurnStep.objects.filter(turn=turn).order_by("position"))
                replies = sum(step.kind == "model_reply" for step in steps)
                lost = self.model.stats["calls"] - calls_before - replies
                if lost:  # the peer's script is spent on a reply that nobody has
                    self.script_from(replies)
                done, ran = self.finished(steps), Counter(self.runs)
                self.answer()
                with self.subTest(commit=commit, before=before):
                    self.assertEqual(Turn.objects.count(), turns + 1)
                    self.assertEqual(self.model.stats["calls"] - calls_before, 3 + lost)
                    self.assertLessEqual(lost, 1 if before else 0)
                    for name, count in ran.items():
                        if name in done or name.startswith("pay"):
                            self.assertEqual(self.runs[name], count, name)
                    self.assertTrue(all(count == 1 for name, count in self.runs.items() if name.startswith("pay")))
                    self.assert_one_result_for_each_call()
                commit += 1
            self.assertGreater(commit, 6)

    def script_from(self, first: int) -> None:
        self.model.script.set()
        numbers = iter(range(100))
        for place, names in enumerate(self.ROUNDS):
            wanted = [(name, {"n": next(numbers)}) for name in names]
            if place >= first:
                self.model.script.add(tool_calls=calls(*wanted))

    def finished(self, steps: list[TurnStep]) -> set[str]:
        """The runs whose results are in the journal."""
        return {step.payload["content"].removeprefix("did ") for step in steps if step.kind == "tool_result"}

    def assert_one_result_for_each_call(self) -> None:
        messages = self.model.requests[-1]["body"]["messages"]
        asked = [call["id"] for message in messages for call in message.get("tool_calls", ())]
        answered = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
        self.assertEqual(asked, answered)
