"""Memory's tools in turns of the pipeline."""

from __future__ import annotations

from typing import Any
from unittest import mock

from gateway_app.agent.tools import registry
from gateway_app.models import TranscriptMessage
from gateway_app.sessions.source import SessionContext
from honcho_app import client, managers, opening
from honcho_app import context as context_module
from honcho_app.manager import HonchoSessionManager
from honcho_app.names import peer_name, session_name
from tests import pipeline
from tests.agent_case import calls
from tests.configuration import configured
from tests.peers.honcho import HonchoPeer
from tests.pipeline_case import PipelineTestCase


class TurnTests(PipelineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.peer = self.enterContext(HonchoPeer())
        for forget in (client.close, opening.forget_opened, managers.shut_down_all):
            self.addCleanup(forget)
        limits = {"read_timeout_seconds": 10, "write_timeout_seconds": 10}
        self.enterContext(configured(honcho={"base_url": self.peer.url, **limits}))

    def results(self) -> list[str]:
        return list(TranscriptMessage.objects.filter(role="tool").order_by("id").values_list("content", flat=True))

    def test_each_sessions_calls_reach_its_own_memory_also_where_they_run_at_once(self) -> None:
        seen: list[object] = []
        resolve = context_module._resolve_session_context

        def watched(**kw: Any) -> Any:
            seen.append(context_module._session_manager)
            return resolve(**kw)

        for module in ("conclude", "search", "context"):
            self.enterContext(mock.patch(f"honcho_app.tools.{module}._resolve_session_context", watched))
        for user in ("ann", "bob"):
            self.model.script.add(
                tool_calls=calls(("honcho_conclude", {"conclusion": f"{user} likes tea"}), ids=("first",))
            )
            self.model.script.add(
                tool_calls=calls(
                    ("honcho_context", {"query": user}), ("honcho_search", {"query": user}), ("honcho_context", {})
                )
            )
            pipeline.accept("go", user=user)
            self.answer(user)
        contexts = {user: pipeline.context(user) for user in ("ann", "bob")}
        of_ann, of_bob = ("\n".join(self.results()[start : start + 4]) for start in (0, 4))
        self.assertIn("ann likes tea", of_ann)
        self.assertNotIn("bob", of_ann)
        self.assertIn("bob likes tea", of_bob)
        self.assertNotIn("ann", of_bob)
        for user, found in contexts.items():
            manager = managers.manager_for(found)
            assert manager
            name, peer = session_name(found.honcho_session_key), peer_name(found, manager.config)
            own = [each for each in self.peer.conclusions() if each["observed_id"] == peer]
            self.assertEqual([(each["content"], each["session_id"]) for each in own], [(f"{user} likes tea", name)])
        # In a worker's turns the globals of the CLI are never set.
        self.assertEqual(seen, [None] * 8)

    def test_a_reset_shuts_the_ended_sessions_manager_down_where_it_is_carried_out(self) -> None:
        made: list[HonchoSessionManager] = []
        manager_for = managers.manager_for

        def watched(context: SessionContext) -> HonchoSessionManager | None:
            if found := manager_for(context):
                made.append(found)
            return found

        self.enterContext(mock.patch("gateway_app.turns.runner.manager_for", watched))
        for text in ("hello", "/new", "hello again"):
            pipeline.accept(text, user="ann")
            self.answer("ann")
        before, after = made
        self.assertNotEqual(before.session_id, after.session_id)
        self.assertEqual((before.is_shut_down, after.is_shut_down), (True, False))

    def test_where_honcho_is_off_a_turn_has_nothing_of_it(self) -> None:
        with configured(honcho={"base_url": ""}):
            self.model.script.add(tool_calls=calls(("honcho_context", {})))
            pipeline.accept("go", user="ann")
            self.answer("ann")
            self.assertFalse([name for name in registry(pipeline.context("ann")).names if name.startswith("honcho_")])
        self.assertIn("There is no tool 'honcho_context'", self.results()[0])
        self.assertEqual(self.peer.requests, [])

    def test_a_server_that_is_away_fails_a_call_and_no_turn(self) -> None:
        with configured(honcho={"base_url": "http://127.0.0.1:1"}):
            self.model.script.add(tool_calls=calls(("honcho_search", {"query": "tea"})))
            pipeline.accept("go", user="ann")
            self.answer("ann")
        self.assertEqual(self.results(), ['{"error": "Honcho cannot be reached."}'])
        self.assertEqual(len(self.platform.sent), 1)
