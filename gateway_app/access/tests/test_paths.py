"""Every path by which access changes, each with exactly one audit row, and every action that the audit knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import TransactionTestCase
from django.utils import timezone

from gateway_app import homes, lanes
from gateway_app.access import configuration, pairing, roles, rules, strangers
from gateway_app.access.audit import Actor, verify
from gateway_app.models import AccessRule, AuditEntry, PairingGuard, PairingRequest, Question, ToolPermission
from gateway_app.models.audit import AuditAction, Door
from gateway_app.models.lane import LaneKind
from gateway_app.questions import deciding, permissions
from honcho_app import erasure
from tests.factories import make_session, make_source, make_turn

ANN = Actor("ann", Door.ADMIN)
LATER = timedelta(days=1)


def pairing_of(user_id: str) -> int:
    source = make_source(user_id=user_id, chat_id=user_id)
    asked = pairing.request(source=source, message_id="1", message_chars=5)
    assert asked.request_id
    return asked.request_id


class PathTests(TransactionTestCase):
    def setUp(self) -> None:
        strangers.memory.forget()
        roles.ensure_roles()
        configuration.note(settings.CONFIG, host="a")
        self.staff = User.objects.create_user("bob", is_staff=True)
        roles.note_elsewhere()
        self.rule = rules.allow(platform="telegram", subject_id="1", by=ANN).rule
        self.ending = rules.allow(platform="telegram", subject_id="2", by=ANN, expires_at=timezone.now() + LATER).rule
        self.approved, self.denied, self.expired = (pairing_of(name) for name in ("11", "12", "13"))

    def expire(self) -> None:
        AccessRule.objects.filter(pk=self.ending.pk).update(expires_at=timezone.now() - LATER)
        rules.expire_due()

    def expire_pairing(self) -> None:
        PairingRequest.objects.filter(pk=self.expired).update(requested_at=timezone.now() - LATER)
        pairing.expire_due()

    def guess(self) -> None:
        PairingGuard.objects.update_or_create(platform="telegram", defaults={"failures": pairing.MOST_FAILURES - 1})
        with self.assertRaises(pairing.UnknownCode):
            pairing.approve(by=ANN, platform="telegram", code="AAAA2222")

    def paths(self) -> list[tuple[str, AuditAction, Callable[[], object]]]:
        changed = settings.CONFIG.changed(access={"platforms": {"telegram": {"allow_all_users": True}}})
        return [
            (
                "an operator allows",
                AuditAction.RULE_ADDED,
                lambda: rules.allow(platform="telegram", subject_id="3", by=ANN),
            ),
            ("an operator bans", AuditAction.RULE_ADDED, lambda: rules.deny(platform="", subject_id="4", by=ANN)),
            (
                "an operator changes a rule",
                AuditAction.RULE_CHANGED,
                lambda: rules.allow(platform="telegram", subject_id="1", by=ANN, note="new"),
            ),
            (
                "an operator takes a rule back",
                AuditAction.RULE_REMOVED,
                lambda: rules.remove(rule_id=self.rule.pk, by=ANN),
            ),
            (
                "an operator revokes a person",
                AuditAction.RULE_REMOVED,
                lambda: rules.revoke(platform="telegram", user_id="3", by=ANN),
            ),
            ("a rule ends", AuditAction.RULE_EXPIRED, self.expire),
            (
                "an operator approves a pairing",
                AuditAction.PAIRING_APPROVED,
                lambda: pairing.approve(by=ANN, request_id=self.approved),
            ),
            (
                "an operator denies a pairing",
                AuditAction.PAIRING_DENIED,
                lambda: pairing.deny(by=ANN, request_id=self.denied),
            ),
            ("a pairing ends", AuditAction.PAIRING_EXPIRED, self.expire_pairing),
            ("a stranger asks", AuditAction.PAIRING_REQUESTED, lambda: pairing_of("14")),
            ("an operator clears what waits", AuditAction.PAIRING_CLEARED, lambda: pairing.clear(by=ANN)),
            ("somebody guesses codes", AuditAction.PAIRING_LOCKED, self.guess),
            (
                "an operator gives a role",
                AuditAction.ROLE_CHANGED,
                lambda: roles.change_role(user=self.staff, roles=["viewer"], by=ANN),
            ),
            ("somebody makes a superuser", AuditAction.ROLE_CHANGED, self._superuser),
            (
                "everybody is let in by the configuration",
                AuditAction.CONFIGURATION_CHANGED,
                lambda: configuration.note(changed, host="a"),
            ),
            ("an admin makes a chat the home channel", AuditAction.HOME_CHANGED, self._home),
            ("an operator has a person forgotten", AuditAction.MEMORY_FORGOTTEN, self._forget),
            ("a person approves a call", AuditAction.TOOL_APPROVED, lambda: self._decide("approved", door="chat")),
            ("a person denies a call", AuditAction.TOOL_DENIED, lambda: self._decide("denied", door="button")),
            ("nobody decides about a call", AuditAction.TOOL_EXPIRED, lambda: self._decide("expired", door="timeout")),
            ("an operator takes a permission back", AuditAction.PERMISSION_REMOVED, self._take_back),
        ]

    def _decide(self, state: str, *, door: str) -> None:
        source = make_source()
        turn = make_turn(session=make_session(source=source), state="running")
        Question.objects.create(
            turn=turn, lane=turn.lane, number=1, kind="approval", reply=1, tool_call_id="id", tool="pay", text="{}",
            source=source.to_json(), expires_at=timezone.now(), state=state, door=door,
            scope="once" if state == "approved" else "",
        )  # fmt: skip
        with transaction.atomic():
            claim = lanes.claim(kind=LaneKind.TURNS, key=turn.lane.key)
        assert claim
        for _ in range(2):  # a worker that takes the turn over does not know whether it was done
            deciding.audit(claim, turn_id=turn.pk)

    def _take_back(self) -> None:
        row = ToolPermission.objects.create(platform="telegram", participant="1", tool="pay")
        for _ in range(2):
            permissions.take_back(permission_id=row.pk, by=ANN)

    def _home(self) -> None:
        with transaction.atomic():
            homes.choose(make_source(), by=ANN)

    def _forget(self) -> None:
        erasure.forget_here(erasure.plan(platform="telegram", user_id="1"), by=ANN)

    def _superuser(self) -> None:
        User.objects.create_superuser("eve")
        roles.note_elsewhere()

    def test_each_path_writes_exactly_one_row(self) -> None:
        for what, action, change in self.paths():
            with self.subTest(what):
                before = AuditEntry.objects.count()
                change()
                rows = AuditEntry.objects.filter(pk__gt=before)
                self.assertEqual([row.action for row in rows], [action])
        self.assertEqual(verify().faults, [])

    def test_every_action_that_the_audit_knows_has_a_path(self) -> None:
        self.assertEqual({action for _, action, _ in self.paths()}, set(AuditAction))
