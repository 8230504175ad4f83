"""Whose memory a call is about, through the whole chain of calls."""

from __future__ import annotations

import re
from typing import Any
from unittest import mock

from celery import signals
from django.core.management import call_command
from django.test import SimpleTestCase, override_settings

from gateway_app.agent.tool_error import ToolError
from gateway_app.config.addresses import ROOT
from gateway_app.management.commands import chat
from honcho_app import context as context_module
from honcho_app import managers
from honcho_app.context import _resolve_session_context, only_session
from honcho_app.manager import Whom
from tests.configuration import configured

from .case import HonchoCase, context

KEY = "agent:main:telegram:dm:5"
NOT_ACTIVE = "Honcho is not active for this session."


class ResolutionTests(SimpleTestCase):
    def setUp(self) -> None:
        self.enterContext(configured(honcho={"base_url": "http://127.0.0.1:1"}))
        managers.shut_down_all()
        self.addCleanup(managers.shut_down_all)
        self.anna = managers.manager_for(context())
        self.ben = managers.manager_for(context(session_key="agent:main:telegram:dm:6", user_id="6"))

    def refused(self, **kw: Any) -> None:
        with self.assertRaisesRegex(ToolError, f"^{re.escape(NOT_ACTIVE)}$"):
            _resolve_session_context(**kw)

    def test_what_the_call_carries_counts(self) -> None:
        found = _resolve_session_context(honcho_manager=self.anna, honcho_session_key=KEY, context=None)
        self.assertEqual(found, (self.anna, KEY))

    def test_a_call_that_carries_nothing_is_nobodys(self) -> None:
        self.refused()
        self.refused(honcho_manager=None, honcho_session_key="")

    def test_a_call_that_carries_half_is_nobodys(self) -> None:
        self.refused(honcho_manager=self.anna)
        self.refused(honcho_session_key=KEY)

    def test_a_manager_of_another_session_is_refused(self) -> None:
        self.refused(honcho_manager=self.ben, honcho_session_key=KEY)

    def test_in_the_cli_a_call_that_carries_nothing_is_that_of_its_session(self) -> None:
        with only_session(self.anna):
            self.assertEqual(_resolve_session_context(), (self.anna, KEY))
        self.refused()

    def test_also_there_what_the_call_carries_comes_first_and_half_is_nobodys(self) -> None:
        with only_session(self.ben):
            self.assertEqual(_resolve_session_context(honcho_manager=self.anna, honcho_session_key=KEY)[0], self.anna)
            self.refused(honcho_manager=self.anna)
            self.refused(honcho_session_key=KEY)

    def test_a_process_has_one_such_session_at_the_most(self) -> None:
        with only_session(self.anna), self.assertRaisesRegex(RuntimeError, "allowed: one"), only_session(self.ben):
            pass

    def test_a_worker_has_none(self) -> None:
        for signal in (signals.worker_init, signals.worker_process_init):
            with self.subTest(signal), mock.patch.object(context_module, "_is_worker", False):
                self.assertIn(context_module._in_worker, [receiver() for _, receiver in signal.receivers])
                context_module._in_worker()
                with self.assertRaisesRegex(RuntimeError, "is a worker"), only_session(self.anna):
                    pass
        self.refused()

    def test_nothing_but_the_cli_sets_it(self) -> None:
        sources = [
            path for name in ("gateway_app", "honcho_app", "hermes_site") for path in (ROOT / name).rglob("*.py")
        ]
        users = {path.name for path in sources if "tests" not in path.parts and "only_session(" in path.read_text()}
        self.assertEqual(users, {"chat.py", "context.py"})

    def test_a_manager_that_was_shut_down_is_refused(self) -> None:
        managers.shut_down(KEY)
        self.refused(honcho_manager=self.anna, honcho_session_key=KEY)


class ChatCommandTests(HonchoCase):
    @override_settings(OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    def test_it_sets_the_session_for_as_long_as_it_runs(self) -> None:
        seen: list[tuple[Any, str]] = []
        with mock.patch.object(chat.Command, "_say", lambda *args: seen.append(_resolve_session_context())):
            call_command("chat", "hello", conversation="main")
        ((manager, key),) = seen
        self.assertTrue(key.startswith("agent:main:cli:dm:"))
        self.assertEqual(manager.honcho_session_key, key)
        with self.assertRaises(ToolError):
            _resolve_session_context()

    async def test_a_tool_called_outside_of_a_turn_reaches_that_session(self) -> None:
        anna = self.manager()
        with only_session(anna):
            await self.call("honcho_conclude", conclusion="likes tea")
        self.assertEqual([each.content for each in await anna.conclusions(Whom.USER)], ["likes tea"])
        self.assertEqual(await self.call("honcho_conclude", conclusion="likes tea"), {"error": NOT_ACTIVE})
