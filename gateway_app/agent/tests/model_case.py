"""What the tests of the model client share: a peer over real sockets, and a clock that does not wait."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

import aiohttp

from gateway_app.agent.model_client import ModelClient, ModelConfig, ModelError, ModelReply
from tests.peers.model import ModelPeer

TEST_SECONDS = 30
"""A call that takes longer than this hangs; the test fails instead of waiting for ever."""

HELLO = [{"role": "user", "content": "hello"}]


class ModelCase(unittest.IsolatedAsyncioTestCase):
    """Gives each test `self.peer`, and `self.slept`, the waits that the client asked for and did not get."""

    async def asyncSetUp(self) -> None:
        self.peer = self.enterContext(ModelPeer())
        self.http = await self.enterAsyncContext(aiohttp.ClientSession())
        self.slept: list[float] = []
        self.shown: list[str] = []

    def client(self, **config: Any) -> ModelClient:
        config = {"base_url": self.peer.base_url, "models": ("first",), "timeout_seconds": 5, **config}
        return ModelClient(http=self.http, config=ModelConfig(**config), sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def ask(self, messages: Any = HELLO, *, tools: Any = (), **config: Any) -> ModelReply:
        async with asyncio.timeout(TEST_SECONDS):
            return await self.client(**config).complete(messages, tools=tools)

    async def stream(
        self, messages: Any = HELLO, *, tools: Any = (), restarts: bool = True, **config: Any
    ) -> ModelReply:
        """Streams; what a reader would see is in `self.shown`, with `<restart>` where the text so far was voided."""

        async def on_delta(text: str) -> None:
            self.shown.append(text)

        async def on_restart() -> None:
            self.shown.append("<restart>")

        async with asyncio.timeout(TEST_SECONDS):
            return await self.client(**config).complete(
                messages, tools=tools, on_delta=on_delta, on_restart=on_restart if restarts else None
            )

    async def failure(self, *, streamed: bool = False, **config: Any) -> ModelError:
        """The error a call ends in."""
        with self.assertRaises(ModelError) as caught:
            await (self.stream if streamed else self.ask)(**config)
        return caught.exception

    @property
    def asked(self) -> list[str]:
        """The models that were asked, in order."""
        return [request["model"] for request in self.peer.requests]
