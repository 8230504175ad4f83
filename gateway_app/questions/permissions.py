"""The tools that people let run for them without being asked. A permission is its giver's own and nobody else's."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from django.db import transaction
from django.db.models import Q

from gateway_app.access.audit import Actor, open_ledger
from gateway_app.models import Question, ToolPermission
from gateway_app.models.audit import AuditAction
from gateway_app.models.question import ApprovalScope
from gateway_app.sessions.source import SessionSource


def permitted(source: SessionSource, *, session_id: str, tools: AbstractSet[str]) -> frozenset[str]:
    """Which of `tools` the person of `source` lets run without asking in this conversation."""
    if not source.participant:
        return frozenset()
    where = Q(session_id="") | Q(session_id=session_id)
    found = ToolPermission.objects.filter(
        where, platform=source.platform, account=source.account, participant=source.participant, tool__in=tools
    )
    return frozenset(found.values_list("tool", flat=True))


def give(question: Question, *, session_id: str) -> None:
    """Gives the permission that the question was approved with. Must run in a transaction that opened the ledger."""
    asked = question.asked
    ToolPermission.objects.get_or_create(
        platform=asked.platform,
        account=asked.account,
        participant=asked.participant,
        session_id=session_id if question.scope == ApprovalScope.SESSION else "",
        tool=question.tool,
    )


def take_back(*, permission_id: int, by: Actor) -> ToolPermission | None:
    """Takes a permission back, with its audit row; nothing where there is no such one any more."""
    with transaction.atomic():
        ledger = open_ledger()
        found = ToolPermission.objects.filter(pk=permission_id).first()
        if found is None:
            return None
        found.delete()
        ledger.write(
            action=AuditAction.PERMISSION_REMOVED,
            by=by,
            platform=found.platform,
            subject=found.participant,
            before={"tool": found.tool, "session": found.session_id or None},
        )
        return found
