"""The test case for what happens while a turn runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

from gateway_app import lanes
from gateway_app.agent.registry import Registry, Tool
from gateway_app.models import InboundMessage, OutboundPart, TranscriptMessage, Turn
from gateway_app.sessions import history
from gateway_app.sessions.source import ChatType
from gateway_app.turns import runner
from gateway_app.turns.runner import run_session
from gateway_app.worker.database import in_database
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline
from tests.configuration import configured
from tests.pipeline_case import PipelineTestCase
from tests.transcripts import faults

THREAD: dict[str, Any] = {"chat_id": "g", "chat_type": ChatType.GROUP, "thread_id": "t"}
SLOW = 30.0
"""Seconds that a model or a tool takes here, so that whoever waits for it has failed."""
SOON = 12.0
"""Seconds until what must not wait for it, on a machine that does much else."""


def busy(mode: str) -> configured:
    """Another mode for all chats."""
    return configured(display={"busy_input_mode": mode})


class BusyTestCase(PipelineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tool_runs = asyncio.Event()

    def answer_while(self, *meanwhile: Callable[[], object], at_tool: bool = False, **place: Any) -> None:
        """One ring of the session. Each of `meanwhile` is done while the model has another call under way, or
        `at_tool` while the tool runs.
        """
        started = time.monotonic()
        pipeline.run(self._answer_while(meanwhile, at_tool=at_tool, place=place))
        self.assertLess(time.monotonic() - started, SLOW)

    async def _answer_while(
        self, meanwhile: tuple[Callable[[], object], ...], *, at_tool: bool, place: dict[str, Any]
    ) -> None:
        task = asyncio.create_task(run_session(pipeline.context(**place), http=http_session()))
        try:
            for act in meanwhile:
                calls = self.model.stats["calls"]
                async with asyncio.timeout(SOON):
                    while not (self.tool_runs.is_set() if at_tool else self.model.stats["in_flight"]):
                        await asyncio.sleep(0.01)
                await in_database(act)
                async with asyncio.timeout(SOON):
                    while act is not meanwhile[-1] and self.model.stats["calls"] <= max(calls, 1):
                        await asyncio.sleep(0.01)
            async with asyncio.timeout(SOON):
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await close_http_session()

    def use_tool(self, handler: Callable[..., Awaitable[str]]) -> None:
        """The tool `work`, and no other."""
        tool = Tool(name="work", description="Works.", parameters={"type": "object"}, handler=handler)
        self.enterContext(mock.patch.object(runner, "tool_registry", lambda context: Registry([tool])))

    async def hang(self, *args: Any, **kwargs: Any) -> str:
        """A tool, or a command, that takes too long."""
        self.tool_runs.set()
        await asyncio.sleep(SLOW)
        return "late"

    def transcript(self) -> list[dict[str, Any]]:
        rows = TranscriptMessage.objects.order_by("id").values("role", "content", "tool_calls", "tool_call_id")
        return [history.message(**row) for row in rows]

    def said(self) -> list[tuple[str, str]]:
        return [(message["role"], message["content"]) for message in self.transcript()]

    def roles(self) -> list[str]:
        return [role for role, _ in self.said()]

    def assert_clean(self) -> None:
        """The transcript can be gone on with, and nothing waits."""
        self.assertEqual(faults(self.transcript()), [])
        self.assertFalse(InboundMessage.objects.filter(state__in=["waiting", "running"]).exists())

    def assert_lanes_are_free(self) -> None:
        self.assertEqual([kind for kind, _ in lanes.due(limit=10) if kind == "turns"], [])

    def notices(self) -> list[str]:
        """What was answered without a turn."""
        return list(OutboundPart.objects.filter(turn=None).order_by("seq").values_list("text", flat=True))

    def echoes(self) -> list[str]:
        """What the agent answered."""
        return [text for text in self.platform.texts if text.startswith("echo: ")]

    def turn_states(self) -> list[str]:
        return list(Turn.objects.order_by("id").values_list("state", flat=True))
