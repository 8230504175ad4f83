"""Pairing when many ask, approve and guess at one moment: no cap is exceeded, and one of them wins."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from unittest import mock

from django.test import TransactionTestCase

from gateway_app import doorbell
from gateway_app.access import audit, pairing, people
from gateway_app.access.audit import Actor
from gateway_app.access.pairing import Outcome
from gateway_app.models import AccessRule, AuditEntry, OutboundPart, PairingGuard, PairingRequest
from gateway_app.models.audit import Door
from tests.factories import make_source
from tests.test_lanes import at_once, together

CROWD = 50
ANN = Actor("ann", Door.ADMIN)


def ask(user: str) -> pairing.Asked:
    source = make_source(user_id=user, chat_id=user)
    return pairing.request(source=source, message_id="1", message_chars=1)


def actions() -> Counter[str]:
    return Counter(AuditEntry.objects.values_list("action", flat=True))


class RaceTests(TransactionTestCase):
    def setUp(self) -> None:
        patch = mock.patch.object(doorbell, "ring_delivery")
        patch.start()
        self.addCleanup(patch.stop)
        self.addCleanup(people._known.clear)

    def crowd(self, *works: Callable[[], object]) -> Counter[str]:
        """What came of each work, by the outcome or the error's name."""
        found: list[str] = []

        def run(work: Callable[[], object]) -> None:
            try:
                result = work()
                found.append(result.outcome if isinstance(result, pairing.Asked) else "approved")
            except pairing.PairingError as error:
                found.append(type(error).__name__)

        at_once(*(functools.partial(run, work) for work in works))
        self.assertEqual(audit.verify().faults, [])
        return Counter(found)

    def test_fifty_people_at_once_never_get_more_than_three_codes(self) -> None:
        # Seen to fail on PostgreSQL with the ledger opened after the requests that wait are counted.
        found = self.crowd(*(functools.partial(ask, str(user)) for user in range(CROWD)))
        self.assertEqual(found, {Outcome.ISSUED: 3, Outcome.TURNED_AWAY: CROWD - 3})
        self.assertEqual(pairing.pending().count(), 3)
        self.assertEqual(actions(), {"pairing_requested": 3})
        self.assertEqual(OutboundPart.objects.count(), CROWD)

    def test_one_person_in_fifty_processes_at_once_gets_one_code(self) -> None:
        found = self.crowd(*[functools.partial(ask, "7")] * CROWD)
        self.assertEqual(found, {Outcome.ISSUED: 1, Outcome.RATE_LIMITED: CROWD - 1})
        self.assertEqual((PairingRequest.objects.count(), OutboundPart.objects.count()), (1, 1))

    def test_fifty_approvals_of_one_request_approve_once(self) -> None:
        asked = ask("7")
        by_number = functools.partial(pairing.approve, by=ANN, request_id=asked.request_id)
        by_code = functools.partial(pairing.approve, by=ANN, platform="telegram", code=asked.code)
        found = self.crowd(*[by_number, by_code] * (CROWD // 2))
        self.assertEqual(found, {"approved": 1, "AlreadyDecided": CROWD - 1})
        self.assertEqual(actions(), {"pairing_requested": 1, "pairing_approved": 1})
        self.assertEqual((AccessRule.objects.count(), OutboundPart.objects.count()), (1, 2))
        self.assertFalse(PairingGuard.objects.exists())

    def test_an_approval_and_a_denial_at_once_are_one_decision(self) -> None:
        number = ask("7").request_id or 0
        approve = functools.partial(pairing.approve, by=ANN, request_id=number)
        deny = functools.partial(pairing.deny, by=ANN, request_id=number)
        found = self.crowd(*[approve, deny] * 10)
        self.assertEqual(found["AlreadyDecided"], 19)
        self.assertEqual(sum(actions().values()), 2)

    def test_fifty_wrong_codes_at_once_lock_once(self) -> None:
        asked = ask("7")
        wrong = functools.partial(pairing.approve, by=ANN, platform="telegram", code="AAAA2222")
        found = self.crowd(*[wrong] * CROWD)
        self.assertEqual(found, {"UnknownCode": 5, "LockedOut": CROWD - 5})
        self.assertEqual(actions(), {"pairing_requested": 1, "pairing_locked": 1})
        with self.assertRaises(pairing.LockedOut):
            pairing.approve(by=ANN, request_id=asked.request_id)

    def test_fifty_ends_at_once_end_each_request_once(self) -> None:
        for user in "123":
            ask(user)
        with mock.patch.object(pairing, "CODE_SECONDS", 0):
            together(CROWD, pairing.expire_due)
        self.assertEqual(actions(), {"pairing_requested": 3, "pairing_expired": 3})
        self.assertEqual(audit.verify().faults, [])
