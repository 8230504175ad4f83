"""What tests of the agent's loop share: tools that are counted, and calls for the model's script."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any
from unittest import mock

from gateway_app.agent.registry import Registry, Tool
from gateway_app.agent.tools import tool_output
from gateway_app.turns import runner
from tests.pipeline_case import PipelineTestCase

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

    look_seconds = 0.03
    """Those that are asked for first take longest: up to four times as long."""

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
        return await self.work("look", args, seconds=self.look_seconds * (4 - args["n"] % 4))

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
