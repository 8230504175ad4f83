"""Remembers the people who were let in, without a write for what is known already."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import date

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from gateway_app.models import Person
from gateway_app.sessions.source import SessionSource

REMEMBERED = 10_000
"""People a process keeps in mind to spare itself the statement; the oldest is forgotten first."""

_known: OrderedDict[tuple[str, str], tuple[str, str, date]] = OrderedDict()


def note(sources: Iterable[SessionSource]) -> None:
    """Writes the people who are new, have another name, or were not seen today. Must run in a transaction."""
    today = timezone.now().date()
    seen: dict[tuple[str, str], tuple[str, str, date]] = {}
    for source in sources:
        person = (source.platform, source.user_id)
        told = (source.user_id_alt, source.user_name, today)
        if source.user_id and _known.get(person) != told:
            seen[person] = told
    if not seen:
        return
    Person.objects.bulk_create(
        [
            Person(platform=platform, user_id=user_id, user_id_alt=alt, name=name, last_seen_at=Now())
            for (platform, user_id), (alt, name, _) in sorted(seen.items())
        ],
        update_conflicts=True,
        unique_fields=["platform", "user_id"],
        update_fields=["user_id_alt", "name", "last_seen_at"],
    )
    # A rollback after this costs one missing row until the next day.
    for person, told in seen.items():
        _known[person] = told
        _known.move_to_end(person)
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)


def identities(*, platform: str, user_id: str) -> set[str]:
    """All ids of the person who has this one, as far as the platform has told them."""
    rows = Person.objects.filter(Q(user_id=user_id) | Q(user_id_alt=user_id), platform=platform)
    found = {identity for row in rows for identity in (row.user_id, row.user_id_alt) if identity}
    return found | {user_id}
