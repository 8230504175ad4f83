"""What the tests of pairing share: somebody who asks, and what came of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway_app.access import pairing
from gateway_app.access.audit import Actor
from gateway_app.access.standing import standing
from gateway_app.models import AuditEntry, PairingRequest
from gateway_app.models.audit import Door
from tests.factories import make_source

ANN, BOB = Actor("ann", Door.ADMIN), Actor("bob", Door.COMMAND_LINE)
WRONG = "AAAA2222"


def ask(user: str = "7", **values: Any) -> pairing.Asked:
    """The user writes a direct message of five characters on Telegram."""
    source = make_source(**{"user_id": user, "chat_id": user, "user_name": "Ann", **values})
    return pairing.request(source=source, message_id="70", message_chars=5)


def age(seconds: float, **which: Any) -> None:
    """Makes requests older."""
    for row in PairingRequest.objects.filter(**which):
        PairingRequest.objects.filter(pk=row.pk).update(requested_at=row.requested_at - timedelta(seconds=seconds))


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


def may_write(user: str = "7") -> bool:
    return standing(platform="telegram", user_id=user).direct.is_allowed
