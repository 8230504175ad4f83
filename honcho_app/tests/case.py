"""Tests with a Honcho server beside them."""

from __future__ import annotations

import json
from typing import Any
from unittest import TestCase

from django.test import TransactionTestCase

from gateway_app.agent.ai_agent import handle_function_call
from gateway_app.agent.registry import Registry
from gateway_app.sessions.source import SessionContext
from honcho_app import client, managers, opening
from honcho_app.manager import HonchoSessionManager
from honcho_app.names import session_name
from honcho_app.tools import TOOLS
from tests.configuration import configured
from tests.peers.honcho import HonchoPeer


def context(**fields: Any) -> SessionContext:
    """Anna's direct message with a Telegram bot, unless `fields` say otherwise."""
    known = {
        "session_key": "agent:main:telegram:dm:5",
        "session_id": "s1",
        "platform": "telegram",
        "account": "1",
        "chat_id": "5",
        "chat_type": "dm",
        "thread_id": "",
        "user_id": "5",
        "user_name": "Anna",
    } | fields
    return SessionContext(**{"honcho_session_key": known["session_key"], **known})


def use(test: TestCase, peer: HonchoPeer, **own: Any) -> None:
    """Has the test's process know of the server and of nothing that was done with it before, for this test."""
    peer.reset()
    for forget in (client.close, opening.forget_opened, managers.shut_down_all):
        forget()
        test.addCleanup(forget)
    test.enterContext(configured(honcho={"base_url": peer.url, **own}))


class HonchoCase(TransactionTestCase):
    """`self.peer` is the server, on which nothing is stored."""

    peer: HonchoPeer

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.peer = cls.enterClassContext(HonchoPeer())

    def setUp(self) -> None:
        super().setUp()
        use(self, self.peer, reasoning=True, read_timeout_seconds=10, write_timeout_seconds=10)

    def manager(self, **fields: Any) -> HonchoSessionManager:
        found = managers.manager_for(context(**fields))
        assert found is not None
        return found

    async def call(self, name: str, *, of: HonchoSessionManager | None = None, key: str = "", **args: Any) -> Any:
        """What the model gets of a call of a tool in the session of `of`."""
        text = await handle_function_call(
            Registry(TOOLS),
            name=name,
            arguments=json.dumps(args),
            context=context(),
            honcho_manager=of,
            honcho_session_key=key or (of.honcho_session_key if of else ""),
        )
        return json.loads(text.partition("\n\n[")[0])

    def honcho(self, manager: HonchoSessionManager) -> Any:
        """A client of the SDK as it comes, for what a test puts on the server."""
        from honcho import Honcho

        return Honcho(base_url=self.peer.url, api_key="x", workspace_id=manager.workspace)

    def session_of(self, manager: HonchoSessionManager) -> str:
        """The manager's session on the server, in its first generation."""
        return session_name(manager.honcho_session_key)
