"""What the tests of the pages on access share."""

from __future__ import annotations

import itertools
from typing import Any

from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import transaction
from django.test import TestCase
from django.urls import reverse

from gateway_app.access import audit, codes
from gateway_app.access.audit import Actor
from gateway_app.models import AccessRule, AccessState, AuditEntry, PairingRequest, Person
from gateway_app.models.access import Effect
from gateway_app.models.audit import Door

from .test_actions import person

ANN = Actor("ann", Door.COMMAND_LINE)
VIEW = ("view_pairingrequest", "view_person", "view_accessrule", "view_auditentry")

_numbers = itertools.count(1)


def make_pairing(**values: Any) -> PairingRequest:
    """Somebody who waits to be let in."""
    number = next(_numbers)
    salt = codes.new_salt()
    return PairingRequest.objects.create(
        **{
            "platform": "telegram", "account": "bot", "chat_id": f"asker-{number}", "user_id": f"asker-{number}",
            "user_name": f"Asker {number}", "message_id": str(number), "message_chars": 12, "code_salt": salt,
            "code_hash": codes.hashed("ABCD2345", salt=salt), **values,
        }
    )  # fmt: skip


def make_person(**values: Any) -> Person:
    number = next(_numbers)
    return Person.objects.create(
        **{"platform": "telegram", "user_id": f"user-{number}", "name": f"Person {number}", **values}
    )


def make_rule(**values: Any) -> AccessRule:
    """A row as `rules.put()` leaves it, which every process takes up; its audit row is left out."""
    with transaction.atomic():
        ledger = audit.open_ledger()
        row = AccessRule.objects.create(
            **{
                "effect": Effect.ALLOW, "subject": "user", "platform": "telegram",
                "subject_id": f"rule-{next(_numbers)}", "version": ledger.version, "changed_at": ledger.now, **values,
            }
        )  # fmt: skip
        AccessState.objects.update(version=ledger.version)
    return row


def list_of(model: str) -> str:
    return reverse(f"admin:gateway_app_{model}_changelist")


def page_of(row: Any, what: str = "change") -> str:
    return f"{list_of(row._meta.model_name)}{row.pk}/{what}/"


class AccessCase(TestCase):
    """Signed in as a member of the staff with `permissions`."""

    permissions: tuple[str, ...] = VIEW

    def setUp(self) -> None:
        self.user = person(*self.permissions)
        self.client.force_login(self.user)

    def sign_in(self, *permissions: str) -> User:
        self.user = person(*permissions)
        self.client.force_login(self.user)
        return self.user

    def content(self, path: str, **data: str) -> str:
        response = self.client.get(path, data)
        self.assertEqual(response.status_code, 200, path)
        return response.content.decode()

    def said(self, path: str, data: dict[str, Any] | None = None) -> list[str]:
        """What the page tells after a POST."""
        response = self.client.post(path, data or {})
        self.assertEqual(response.status_code, 302, response.content[:2000])
        found = [str(message) for message in get_messages(response.wsgi_request)]
        self.client.cookies.pop("messages", None)
        return found

    def audited(self) -> list[tuple[str, str, str, str]]:
        """What the audit has, oldest first."""
        return list(AuditEntry.objects.order_by("pk").values_list("action", "door", "actor", "subject"))
