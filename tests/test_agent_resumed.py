"""What a killed worker leaves of a turn with tools to the next."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

from gateway_app.models import Turn, TurnStep
from gateway_app.turns import journal
from tests import pipeline
from tests.agent_case import AgentCase, calls
from tests.configuration import configured
from tests.pipeline_case import Killed, expire_leases


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
