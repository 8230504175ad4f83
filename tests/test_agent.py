"""The agent's loop in the pipeline: rounds of tool calls, what models do wrong, and where a turn ends."""

from __future__ import annotations

from collections import Counter
from unittest import mock

from django.test import override_settings

from gateway_app.models import TranscriptMessage, Turn
from gateway_app.turns import journal, runner
from tests import pipeline
from tests.agent_case import AgentCase, calls
from tests.pipeline_case import Killed, expire_leases


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

    @override_settings(TOOLS_MAX_CALLS=1, TURN_MAX_STEPS=3)
    def test_a_turn_of_thousands_of_calls_is_kept_whole(self) -> None:
        for number in range(3):
            many = tuple(f"id{number}-{place}" for place in range(900))
            self.model.script.add(tool_calls=calls(("note", {"n": number}), *["look"] * 899, ids=many))
        self.model.script.add(answer="Enough.")
        pipeline.accept("go")
        with self.assertLogs("gateway_app"):
            self.answer()
        self.assertEqual(self.platform.texts, ["Enough."])
        self.assertEqual(TranscriptMessage.objects.filter(role="tool").count(), 2700)

    @override_settings(MODEL_RETRIES=0)
    def test_a_reply_that_is_nothing_but_calls_without_end_is_damaged(self) -> None:
        self.model.script.add(tool_calls=calls(*["look"] * 1001, ids=tuple(f"id{n}" for n in range(1001))))
        pipeline.accept("go")
        with self.assertLogs("gateway_app"):
            self.answer()
        self.assertEqual(Turn.objects.get().error_kind, "invalid_reply")

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
