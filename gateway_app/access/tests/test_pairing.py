"""Pairing: who gets a code, what an operator can do with it, and what nobody can."""

from __future__ import annotations

from typing import Any

from django.test import TestCase

from gateway_app.access import audit, pairing
from gateway_app.access.audit import Actor
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.models import AuditEntry
from gateway_app.models.audit import Door
from tests.factories import make_source

ANN = Actor("ann", Door.COMMAND_LINE)


def ask(**values: Any) -> pairing.Asked:
    return pairing.request(source=make_source(**values), message_id="7", message_chars=5)


class S(TestCase):
    def test_road(self) -> None:
        source = make_source()
        asked = pairing.request(source=source, message_id="7", message_chars=5)
        self.assertEqual(asked.outcome, "issued")
        row = pairing.approve(by=ANN, platform="telegram", code=asked.code.lower())
        self.assertEqual(row.state, "approved")
        self.assertTrue(gatekeeper.decide(source).is_allowed)
        with self.assertRaises(pairing.AlreadyDecided) as caught:
            pairing.approve(by=ANN, request_id=row.pk)
        print(caught.exception, [str(e) for e in AuditEntry.objects.all()])
        self.assertEqual(audit.verify().faults, [])
