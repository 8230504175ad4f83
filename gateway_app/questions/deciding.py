"""Decides who may settle an approval, and leaves one audit row of each decision."""

from __future__ import annotations

from django.db import transaction

from gateway_app import lanes
from gateway_app.access.audit import Actor, open_ledger
from gateway_app.access.command_access import Tier, may_run, tier_of
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.config import live
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.lanes import Claim
from gateway_app.models import Question, Turn
from gateway_app.models.audit import AuditAction, Door
from gateway_app.models.question import ApprovalScope, QuestionDoor, QuestionKind, QuestionState
from gateway_app.sessions.source import SessionSource

from . import answering, permissions

ACTIONS = {
    QuestionState.APPROVED: AuditAction.TOOL_APPROVED,
    QuestionState.DENIED: AuditAction.TOOL_DENIED,
    QuestionState.EXPIRED: AuditAction.TOOL_EXPIRED,
}
DOORS = {
    QuestionDoor.CHAT: Door.CHAT,
    QuestionDoor.BUTTON: Door.BUTTON,
    QuestionDoor.ADMIN: Door.ADMIN,
    QuestionDoor.TIMEOUT: Door.TIMEOUT,
}
NOT_YOURS = "This is not yours to decide: it is asked of the person whose message I am working on."
NOT_FOR_OTHERS = "For somebody else you can approve a single call only: `session` and `always` are theirs to say."


def objection(question: Question, source: SessionSource, *, scope: ApprovalScope = ApprovalScope.ONCE) -> str:
    """Why whoever wrote `source` may not settle the question, by the rules in force now; empty where they may.

    It is for the person whose turn it is. A call may also be let run, or not, by an admin of the platform's commands.
    """
    if not gatekeeper.decide(source).is_allowed:
        return NOT_YOURS
    is_theirs = answering.is_theirs(question, source)
    if question.kind == QuestionKind.CLARIFY:
        return "" if is_theirs else NOT_YOURS
    access = live.config().access.platforms.get(source.platform) or PlatformAccess()
    is_admin = tier_of(source, access) is Tier.ADMIN and answering.is_here(question, source)
    if not (is_theirs or is_admin) or not may_run(source, "approve", access).is_allowed:
        return NOT_YOURS
    if not is_theirs and scope is not ApprovalScope.ONCE:
        return NOT_FOR_OTHERS
    return ""


def decide(question: Question, *, is_approved: bool, by: str) -> bool:
    """An operator's decision in the admin, for this one call; false where it was settled before.

    The caller rings after this returns. `question` is brought up to date.
    """
    with transaction.atomic():
        lanes.wake(lane_id=question.lane_id)
        settle = answering.approve if is_approved else answering.deny
        is_first = settle(question, by=by, door=QuestionDoor.ADMIN)
    if not is_first:
        question.refresh_from_db()
    return is_first


def audit(claim: Claim, *, turn_id: int) -> None:
    """Writes the audit rows of what was decided in the turn, and the permissions that were given with it.

    The turn's worker calls it before it goes on, so that nothing runs of which the audit does not know. In a
    transaction of its own, since whoever opens the ledger locks it first. Raises `LaneLost`.
    """
    with lanes.fenced(claim):
        ledger = open_ledger()
        lanes.hold(claim)
        session_id = Turn.objects.values_list("session__session_id", flat=True).get(pk=turn_id)
        decided = Question.objects.filter(
            turn_id=turn_id, kind=QuestionKind.APPROVAL, state__in=ACTIONS, is_audited=False
        ).order_by("number")
        for question in decided:
            asked, state = question.asked, QuestionState(question.state)
            if state is QuestionState.APPROVED and question.scope != ApprovalScope.ONCE:
                permissions.give(question, session_id=session_id)
            ledger.write(
                action=ACTIONS[state],
                by=Actor(question.answered_by or "system", DOORS[QuestionDoor(question.door)]),
                platform=asked.platform,
                subject=asked.participant,
                after={
                    "tool": question.tool, "turn": turn_id, "question": question.number, "session": session_id,
                    "scope": question.scope or None,
                },
                reason=question.answer,
            )  # fmt: skip
        decided.update(is_audited=True)
