"""The test case for turns that wait for a person: tools that need an approval, and what was asked."""

from __future__ import annotations

from typing import Any

from gateway_app.agent.registry import Registry, Tool
from gateway_app.agent.tools import clarify
from gateway_app.models import AuditEntry, InboundMessage, Lane, Question, Turn
from gateway_app.models.audit import AuditAction
from tests import pipeline
from tests.agent_case import ANYTHING, AgentCase, calls

TOOL_ACTIONS = (AuditAction.TOOL_APPROVED, AuditAction.TOOL_DENIED, AuditAction.TOOL_EXPIRED)


class QuestionCase(AgentCase):
    """`pay` and `send` need an approval, `look` does not, `clarify` asks."""

    def setUp(self) -> None:
        super().setUp()
        self.tools = Registry(
            [
                Tool("look", "Looks.", ANYTHING, self.look, is_repeatable=True, is_parallel=True),
                Tool("pay", "Pays.", ANYTHING, self.pay, needs_approval=True),
                Tool("send", "Sends.", ANYTHING, self.send, needs_approval=True, is_repeatable=True),
                clarify.TOOL,
            ]
        )
        self.model.script.set()

    async def send(self, args: dict[str, Any], **kwargs: Any) -> str:
        return await self.work("send", args)

    def park(self, *wanted: str | tuple[str, Any], user: str = "ann", **place: Any) -> None:
        """A message of `user` that leads to these calls, up to where the turn waits."""
        self.model.script.add(tool_calls=calls(*wanted))
        pipeline.inbox.accept([pipeline.event("go", user=user, **place)])
        self.answer(user, **place)
        self.assertEqual(Turn.objects.latest("id").state, "parked")

    def question(self, number: int = 1) -> Question:
        return Question.objects.get(number=number)

    def states(self) -> list[str]:
        return list(Question.objects.order_by("lane_id", "number").values_list("state", flat=True))

    def turn_states(self) -> list[str]:
        return list(Turn.objects.order_by("id").values_list("state", flat=True))

    def audited(self) -> list[tuple[str, str, str]]:
        """Action, actor and door of each decision that the audit has."""
        found = AuditEntry.objects.filter(action__in=TOOL_ACTIONS).order_by("id")
        return [(entry.action, entry.actor, entry.door) for entry in found]

    def assert_free(self) -> None:
        """Nothing is open, and no lane is held."""
        self.assertFalse(InboundMessage.objects.filter(state__in=["waiting", "running"]).exists())
        self.assertFalse(Turn.objects.filter(state__in=["running", "parked"]).exists())
        self.assertFalse(Lane.objects.filter(kind="turns", lease_until__isnull=False).exists())
