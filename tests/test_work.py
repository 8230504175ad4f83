"""What a turn does besides its reply, as people are shown it."""

from __future__ import annotations

import json
from typing import Any
from unittest import TestCase

from gateway_app.agent.model_reply import ToolCall
from gateway_app.models.turn import StepKind
from gateway_app.turns.journal import Step
from gateway_app.turns.work import MOST_ENTRIES, Work, arguments_of, lines, of_journal


def call(name: str = "look", number: int = 0, **arguments: Any) -> ToolCall:
    return ToolCall(id=f"{name}{number}", name=name, arguments=json.dumps(arguments))


def shown(mode: str, *made: ToolCall) -> list[str]:
    work = Work(mode)
    for each in made:
        work.begin(each)
    return lines(work.calls).splitlines()


class LineTests(TestCase):
    def test_each_mode_shows_as_much_as_it_says(self) -> None:
        made = [call(query="tides", number=1), call(query="moon", number=2), call("fetch", url="https://example.org")]
        self.assertEqual(shown("off", *made), [])
        self.assertEqual(shown("new", *made), ["⚙ look (×2)", "⚙ fetch"])
        self.assertEqual(shown("all", *made), ["⚙ look: tides", "⚙ look: moon", "⚙ fetch: https://example.org"])
        self.assertEqual(shown("verbose", *made)[0], '⚙ look: {"query": "tides"}')

    def test_lines_that_look_the_same_are_counted(self) -> None:
        self.assertEqual(shown("all", *(call(query="x", number=number) for number in range(3))), ["⚙ look: x (×3)"])

    def test_arguments_are_cut(self) -> None:
        (line,) = shown("all", call(text="word " * 100))
        self.assertEqual(len(line), len("⚙ look: ") + 40)
        (line,) = shown("verbose", call(text="word " * 100))
        self.assertEqual(len(line), len("⚙ look: ") + 200)

    def test_what_looks_like_a_secret_is_left_out(self) -> None:
        secret = "hunter2-hunter2"
        for arguments in (
            {"api_key": secret},
            {"headers": {"Authorization": secret}},
            {"deep": [{"x": {"password": secret}}]},
            {"url": f"https://ann:{secret}@example.org/"},
            {"url": f"https://example.org/?token={secret}&x=1"},
            {"command": f"curl -H 'Authorization: Bearer {secret}'"},
            {"text": f'{{"client_secret": "{secret}"}}'},
        ):
            with self.subTest(arguments=arguments):
                self.assertNotIn(secret, "".join(shown("verbose", call(**arguments)) + shown("all", call(**arguments))))

    def test_arguments_that_cannot_be_read_are_not_shown(self) -> None:
        self.assertEqual(arguments_of(ToolCall("1", "look", '{"a": ')), {})
        self.assertEqual(shown("verbose", ToolCall("1", "look", "[1]")), ["⚙ look"])

    def test_of_hundreds_of_calls_the_newest_are_shown(self) -> None:
        made = [call(query=str(number), number=number) for number in range(300)]
        self.assertEqual(len(shown("all", *made)), MOST_ENTRIES)
        self.assertEqual(shown("all", *made)[-1], "⚙ look: 299")


class JournalTests(TestCase):
    def reply(self, text: str, *made: ToolCall, thought: str = "") -> Step:
        calls = [{"id": each.id, "name": each.name, "arguments": each.arguments} for each in made]
        payload = {
            "text": text, "tool_calls": calls, "finish_reason": "stop", "model": "m", "prompt_tokens": 1,
            "completion_tokens": 1, "seconds": 0.1, "thought": thought,
        }  # fmt: skip
        return Step(StepKind.MODEL_REPLY, payload)

    def result(self, made: ToolCall, content: str) -> Step:
        return Step(StepKind.TOOL_RESULT, {"tool_call_id": made.id, "content": content})

    def test_it_tells_what_was_said_thought_and_done_but_not_the_reply(self) -> None:
        good, bad, open_call = call("look", 1, query="a"), call("look", 2, query="b"), call("pay", 3)
        steps = [
            self.reply("Let me see.", good, bad, thought="Hm."),
            self.result(good, "fine"),
            self.result(bad, '{"error": "no"}'),
            self.reply("", open_call),
        ]
        work = of_journal(steps, mode="all", shows_reasoning=True)
        entries = work.entries
        self.assertEqual([entry["kind"] for entry in entries], ["thought", "said", "tool", "tool", "tool"])
        self.assertEqual([entry.get("state") for entry in entries[2:]], ["done", "failed", "running"])
        work.begin(open_call)  # by the worker that takes over
        work.end(open_call.id, content="paid")
        self.assertEqual(work.entries[-1], {**entries[-1], "state": "done"})
        with_reply = of_journal([*steps, self.reply("The end.")], mode="all", shows_reasoning=False).entries
        self.assertEqual([entry["kind"] for entry in with_reply], ["said", "tool", "tool", "tool"])
