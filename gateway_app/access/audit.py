"""The audit: one row for every change of access, in a chain that shows whether a row was tampered with.

Every change of access runs in a transaction that opens the ledger. That locks the one `AccessState` row, so changes
are in one order over the whole fleet: their versions, which processes follow, and their places in the chain.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from gateway_app import clock
from gateway_app.models import AccessState, AuditEntry
from gateway_app.models.audit import AuditAction, Door
from gateway_app.statements import Statement, execute

STATE = AccessState._meta.db_table
HASHED = ("id", "at", "actor", "door", "action", "platform", "subject", "before", "after", "reason", "previous_hash")
"""What a row's hash covers: everything but the hash itself."""
CHUNK = 2_000
"""Rows that `verify()` reads at a time."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes access, and by which door they came."""

    name: str
    door: Door


SYSTEM = Actor("system", Door.SYSTEM)
"""What happens by the clock."""


@dataclass(slots=True)
class Ledger:
    """The open ledger of one transaction: the next version of all access, and the place for its audit rows."""

    version: int
    """What a row that is changed in this transaction carries as its `version`."""
    now: datetime
    """The database's time."""
    _count: int
    _hash: str

    def write(
        self,
        *,
        action: AuditAction,
        by: Actor,
        platform: str = "",
        subject: str,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
        reason: str = "",
    ) -> AuditEntry:
        """Adds the audit row of one change, and makes the change's version the current one."""
        entry = AuditEntry(
            id=self._count + 1, at=self.now, actor=by.name[:150], door=by.door, action=action, platform=platform,
            subject=subject[:255], before=before, after=after, reason=reason, previous_hash=self._hash,
        )  # fmt: skip
        entry.hash = chained(entry)
        entry.save(force_insert=True)
        self._count, self._hash = entry.id, entry.hash
        AccessState.objects.filter(pk=AccessState.ONLY).update(
            version=self.version, audit_count=self._count, audit_hash=self._hash
        )
        return entry


def open_ledger() -> Ledger:
    """Locks the state of all access until the transaction ends. Must run in a transaction, before anything is read
    on which the change depends; locks of other rows come after it."""
    opening = Statement(
        f"INSERT INTO {STATE} (id, epoch, version, audit_count, audit_hash, configuration)"
        " VALUES (%s, %s, 0, 0, '', '{}') ON CONFLICT (id) DO UPDATE SET epoch = "
        f"{STATE}.epoch RETURNING version, audit_count, audit_hash, {clock.now()}",
        [AccessState.ONLY, secrets.token_hex(16)],
    )
    assert connection.in_atomic_block
    ((version, count, head, now),) = execute(opening)[0]
    moment = clock.moment(now)
    assert moment is not None
    return Ledger(version + 1, moment, count, head)


def as_json(entry: AuditEntry) -> dict[str, Any]:
    """A row as JSON has it, but for its hash."""
    values = {name: getattr(entry, name) for name in HASHED}
    values["at"] = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    values["door"], values["action"] = str(entry.door), str(entry.action)
    return values


def chained(entry: AuditEntry) -> str:
    """The hash of a row, which covers the hash of the row before it."""
    text = json.dumps(as_json(entry), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify()` found: how many rows there are, the newest hash, and what is wrong with which row."""

    count: int
    head: str
    faults: list[str]


def verify() -> Verdict:
    """Reads the whole chain. A fault names the row that was changed, taken out or put in, as far as can be told."""
    state = AccessState.objects.filter(pk=AccessState.ONLY).first()
    count, head = (state.audit_count, state.audit_hash) if state else (0, "")
    faults: list[str] = []
    expected, previous = 1, ""
    for entry in _entries(upto=count):
        if entry.id != expected:
            missing = f"row {expected} is" if entry.id == expected + 1 else f"rows {expected} to {entry.id - 1} are"
            faults.append(f"{missing} missing")
        elif entry.previous_hash != previous:
            faults.append(f"row {entry.id} does not follow row {entry.id - 1}")
        if chained(entry) != entry.hash:
            faults.append(f"row {entry.id} was changed")
        expected, previous = entry.id + 1, entry.hash
    if expected <= count:
        faults.append(f"the newest rows are missing: {count} were written, the last one found is {expected - 1}")
    elif previous != head:
        faults.append(f"row {expected - 1} is not the one that was written last")
    if AuditEntry.objects.filter(pk__gt=count).exists() and not _has_grown(count):
        faults.append(f"rows after {count} were put in by something else")
    return Verdict(expected - 1, previous, faults)


def _entries(*, upto: int) -> Iterator[AuditEntry]:
    return AuditEntry.objects.filter(pk__lte=upto).order_by("pk").iterator(chunk_size=CHUNK)


def _has_grown(count: int) -> bool:
    return AccessState.objects.filter(pk=AccessState.ONLY, audit_count__gt=count).exists()
