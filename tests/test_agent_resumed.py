"""What a killed worker leaves of a turn with tools to the next."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from django.test import override_settings

from gateway_app.agent.registry import Tool
from gateway_app.models import InboundMessage, Turn, TurnStep
from gateway_app.turns import journal, runner, steering
from gateway_app.worker.database import in_database
from tests import pipeline
from tests.agent_case import ANYTHING, AgentCase, calls
from tests.configuration import configured
from tests.pipeline_case import Killed, expire_leases

Rounds = Sequence[Sequence[str]]


class ResumedRoundTests(AgentCase):
    """Kills the worker before and after each commit of the journal, and counts what was done twice."""

    look_seconds = 0.005
    MIXED: Rounds = (("look", "look", "pay", "pay", "note"), ("look", "pay"))
    JOINED: Rounds = (("look", "join", "look"), ("pay",))

    def setUp(self) -> None:
        super().setUp()
        self.tools = self.tools.joined([Tool("join", "Is interrupted.", ANYTHING, self.join)])

    async def join(self, args: dict[str, Any], **kwargs: Any) -> str:
        """A tool while which the person writes."""
        await in_database(pipeline.accept, "/steer and more")
        return await self.work("join", args)

    def script(self, rounds: Rounds, *, first: int = 0) -> None:
        """The model's replies from a round on; then it only answers."""
        self.model.script.set()
        numbers = iter(range(100))
        for place, names in enumerate(rounds):
            wanted = [(name, {"n": next(numbers)}) for name in names]
            if place >= first:
                self.model.script.add(tool_calls=calls(*wanted))

    def kill_at(self, commit: int, *, before: bool) -> bool:
        """Answers a message with a worker that dies at its nth commit; whether it came so far."""
        made = 0

        def dying(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            nonlocal made
            made += 1
            if before and made == commit:
                raise Killed
            result = function(*args, **kwargs)
            if made == commit:
                raise Killed
            return result

        pipeline.accept("go")
        with (
            mock.patch.object(journal, "record", functools.partial(dying, journal.record)),
            mock.patch.object(steering, "take", functools.partial(dying, steering.take)),
            mock.patch.object(runner, "close", functools.wraps(runner.close)(functools.partial(dying, runner.close))),
        ):
            try:
                self.answer()
            except Killed:
                expire_leases()
                return True
        return False

    def assert_nothing_is_done_again(self, rounds: Rounds, *, least: int) -> None:
        """A worker dies at every commit that there is, of which there are so many `least`."""
        for before in (False, True):
            commit = 1
            while True:
                self.script(rounds)
                self.runs.clear()
                calls_before, turns = self.model.stats["calls"], Turn.objects.count()
                if not self.kill_at(commit, before=before):
                    break
                turn = Turn.objects.latest("id")
                steps = list(TurnStep.objects.filter(turn=turn).order_by("position"))
                replies = sum(step.kind == "model_reply" for step in steps)
                lost = self.model.stats["calls"] - calls_before - replies
                if lost:  # the peer's script is spent on a reply that nobody has
                    self.script(rounds, first=replies)
                done, ran = self.finished(steps), Counter(self.runs)
                self.answer()
                with self.subTest(commit=commit, before=before):
                    self.assertEqual(Turn.objects.filter(transcript__role="user").distinct().count(), turns + 1)
                    self.assertEqual(self.model.stats["calls"] - calls_before, len(rounds) + 1 + lost)
                    self.assertLessEqual(lost, 1 if before else 0)
                    for name, count in ran.items():
                        if name in done or self.is_made_once(name):
                            self.assertEqual(self.runs[name], count, name)
                    self.assertTrue(all(count == 1 for name, count in self.runs.items() if self.is_made_once(name)))
                    self.assert_one_result_for_each_call()
                    self.assertFalse(InboundMessage.objects.exclude(state="done").exists())
                commit += 1
            self.assertGreaterEqual(commit, least)

    @configured(compression={"enabled": False})  # many turns in one session, whose model calls are counted
    def test_whenever_the_worker_dies_nothing_that_ended_is_done_again(self) -> None:
        self.assert_nothing_is_done_again(self.MIXED, least=7)

    @configured(compression={"enabled": False})
    def test_nor_where_the_person_says_more_meanwhile_which_the_agent_is_told_once(self) -> None:
        self.assert_nothing_is_done_again(self.JOINED, least=6)
        messages = self.model.requests[-1]["body"]["messages"]
        newest = max(n for n, message in enumerate(messages) if message["content"] == "go")
        self.assertEqual([message["content"] for message in messages[newest:]].count("and more"), 1)

    @configured(compression={"enabled": False})
    @override_settings(TURN_MAX_STEPS=2)
    def test_nor_where_the_turn_sums_up(self) -> None:
        self.assert_nothing_is_done_again(self.MIXED, least=7)
        self.assertNotIn("tools", self.model.requests[-1]["body"])

    def is_made_once(self, name: str) -> bool:
        return name.startswith(("pay", "join"))

    def finished(self, steps: list[TurnStep]) -> set[str]:
        """The runs whose results are in the journal."""
        return {step.payload["content"].removeprefix("did ") for step in steps if step.kind == "tool_result"}

    def assert_one_result_for_each_call(self) -> None:
        messages = self.model.requests[-1]["body"]["messages"]
        asked = [call["id"] for message in messages for call in message.get("tool_calls", ())]
        answered = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
        self.assertEqual(asked, answered)
