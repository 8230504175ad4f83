"""Pairing: somebody unknown writes, gets a code, and an operator who is given the code lets them in.

Every function runs under the ledger's lock (`gateway_app.access.audit`), which serialises all changes of access over
the whole fleet; so the caps, the rate limit and the lock-out hold without locks of their own, and all times are the
database's. Of what people wrote only its length is kept, and of a code only its salted hash.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet

from gateway_app import clock, doorbell
from gateway_app.access import audit, codes, pairing_replies, people, rules
from gateway_app.access.audit import Actor, Ledger
from gateway_app.access.decision import ANYONE, Ground
from gateway_app.access.gatekeeper import decide_now, gatekeeper
from gateway_app.access.pairing_errors import (
    AlreadyDecided,
    Banned,
    CodeExpired,
    LockedOut,
    PairingError,
    UnknownCode,
    UnknownPlatform,
    UnknownRequest,
)
from gateway_app.delivery import outbox
from gateway_app.models import AccessRule, PairingGuard, PairingRequest
from gateway_app.models.access import Effect, Origin, SubjectKind
from gateway_app.models.audit import AuditAction, Door
from gateway_app.models.pairing import PairingState
from gateway_app.platforms import registry
from gateway_app.sessions.key import delivery_key
from gateway_app.sessions.source import ChatType, SessionSource

__all__ = [
    "AlreadyDecided", "Asked", "Banned", "CodeExpired", "LockedOut", "Outcome", "PairingError", "UnknownCode",
    "UnknownPlatform", "UnknownRequest", "approve", "checked_platform", "clear", "deny", "expire_due",
    "forget_turned_away", "locked_until", "pending", "platforms", "request",
]  # fmt: skip

log = logging.getLogger(__name__)

CODE_SECONDS = 3600
"""How long a code is good. Long enough to reach an operator, short enough that none lies about."""
REQUEST_SECONDS = 600
"""One answer to a person in this time, so that nobody is written to by writing to us."""
MOST_PENDING = 3
"""Requests of one platform that wait at once. An operator must be able to look at each."""
MOST_FAILURES = 5
"""Wrong codes after which a platform is locked."""
LOCK_SECONDS = 3600
"""How long it is locked then: at this pace guessing takes longer than anything lasts."""
RECOGNISED_SECONDS = 86_400
"""So long a code that was used or has expired is told from one that never was."""


class Outcome(StrEnum):
    """What came of a request. Only the first two are answered."""

    ISSUED = "issued"
    TURNED_AWAY = "turned away"
    RATE_LIMITED = "rate limited"
    LOCKED_OUT = "locked out"
    UNWANTED = "unwanted"
    """The person is allowed or banned by now, or cannot be named in a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of somebody unknown asking."""

    outcome: Outcome
    seconds: float = 0
    """How long a further request of the person (of anybody, where locked out) will be met with silence."""
    code: str = field(default="", repr=False)
    """The code, where one was issued. It is in the reply already, and belongs nowhere else."""
    request_id: int | None = None
    chat: str = ""
    """The delivery lane in which a reply waits, to be rung for after this returns."""

    @property
    def is_silent(self) -> bool:
        return self.outcome not in (Outcome.ISSUED, Outcome.TURNED_AWAY)


def request(*, source: SessionSource, message_id: str, message_chars: int) -> Asked:
    """Gives somebody unknown a code, in a reply that goes to the outbox in the same transaction, sealed.

    Silent where the platform is locked or the person was answered lately; turned away, which is told once, where as
    many as MOST_PENDING others wait. Who asks anew while they wait gets another code in place of the first. Must not
    run in a transaction: when this returns, what was done is committed. Raises `django.db.Error`.
    """
    if not _can_be_paired(source):
        return Asked(outcome=Outcome.UNWANTED)
    with transaction.atomic(durable=True):
        ledger = audit.open_ledger()
        # Read anew under the lock: an operator may have decided about them since the message was denied.
        if decide_now(source, at=ledger.now).ground is not Ground.NOTHING:
            return Asked(outcome=Outcome.UNWANTED)
        _expire(ledger)
        return _ask(source, ledger, message_id=message_id, message_chars=message_chars)


def approve(*, by: Actor, request_id: int | None = None, platform: str = "", code: str = "") -> PairingRequest:
    """Lets in who has asked: named by the request's number, or by platform and code. They are told on the platform.

    Raises a `PairingError` that says why not. A wrong code counts, and the fifth locks the platform; so that the count
    is kept, an approval by code must not run in a transaction of the caller's.
    """
    if (request_id is None) == (not code):
        raise PairingError("Name the request by its number, or by its platform and its code.")
    if request_id is None:
        platform = checked_platform(platform)
    with transaction.atomic(durable=request_id is None):
        ledger = audit.open_ledger()
        _expire(ledger)
        if request_id is None:
            found = _by_code(platform, code, by=by, ledger=ledger)
        else:
            found = _by_number(request_id, ledger=ledger)
        if isinstance(found, PairingRequest):
            found = _let_in(found, by=by, ledger=ledger)
    if isinstance(found, PairingError):
        raise found
    gatekeeper.forget()
    log.info("%s approved pairing #%d of %s user %r.", by.name, found.pk, found.platform, found.user_id)
    return found


def deny(*, request_id: int, by: Actor, reason: str = "") -> PairingRequest:
    """Turns a request down. The person is not told, and may ask again. Raises a `PairingError` that says why not."""
    with transaction.atomic():
        ledger = audit.open_ledger()
        _expire(ledger)
        found = _undecided(PairingRequest.objects.filter(pk=request_id).first(), number=request_id)
        if isinstance(found, PairingRequest):
            _decide(found, PairingState.DENIED, AuditAction.PAIRING_DENIED, by=by, ledger=ledger, reason=reason)
    if isinstance(found, PairingError):
        raise found
    return found


def clear(*, by: Actor, platform: str = "") -> int:
    """Drops every request that waits, on one platform or on all, each with its audit row; returns how many."""
    chosen = {"platform": checked_platform(platform)} if platform else {}
    with transaction.atomic():
        ledger = audit.open_ledger()
        _expire(ledger)
        waiting = list(PairingRequest.objects.filter(state=PairingState.PENDING, **chosen).order_by("pk"))
        for found in waiting:
            _decide(found, PairingState.CLEARED, AuditAction.PAIRING_CLEARED, by=by, ledger=ledger)
    return len(waiting)


def expire_due() -> int:
    """Ends the requests whose code has had its time, each with its audit row; returns how many."""
    with transaction.atomic():
        return _expire(audit.open_ledger())


def forget_turned_away() -> int:
    """Drops the rows of people who were turned away, once they may ask again; returns how many."""
    before = clock.read() - timedelta(seconds=REQUEST_SECONDS)
    return PairingRequest.objects.filter(state=PairingState.TURNED_AWAY, requested_at__lte=before).delete()[0]


def pending(platform: str = "") -> QuerySet[PairingRequest]:
    """The requests that can be decided now, oldest first."""
    after = clock.read() - timedelta(seconds=CODE_SECONDS)
    waiting = PairingRequest.objects.filter(state=PairingState.PENDING, requested_at__gt=after)
    return (waiting.filter(platform=platform) if platform else waiting).order_by("requested_at", "pk")


def locked_until(platform: str) -> datetime | None:
    """The end of the platform's lock-out; None where it is not locked."""
    return _locked_until(platform, now=clock.read())


def platforms() -> list[str]:
    """The platforms on which people can be paired."""
    return [name for name in registry.names() if registry.get(name).can_pair]


def checked_platform(name: str) -> str:
    """`name` as platforms are named. Raises `UnknownPlatform` where nobody can be paired on it."""
    found, known = name.strip().lower(), platforms()
    if found not in known:
        raise UnknownPlatform(f"The platform is {name[:40]!r}; allowed: {', '.join(known)}.")
    return found


def _can_be_paired(source: SessionSource) -> bool:
    """Whether a rule can name the person. An id that reads as everybody must never get near one."""
    if source.chat_type is not ChatType.DM or not source.user_id or source.is_bot:
        return False
    if ANYONE in (source.user_id, source.user_id_alt):
        return False
    ids = [source.user_id, source.user_id_alt or source.user_id, source.chat_id]
    try:
        for found in ids:
            rules.check_subject(subject=SubjectKind.USER, platform=source.platform, subject_id=found)
    except ValidationError:
        return False
    return True


def _ask(source: SessionSource, ledger: Ledger, *, message_id: str, message_chars: int) -> Asked:
    if until := _locked_until(source.platform, now=ledger.now):
        return Asked(outcome=Outcome.LOCKED_OUT, seconds=(until - ledger.now).total_seconds())
    own = Q(user_id=source.user_id) | (Q(user_id_alt=source.user_id_alt) if source.user_id_alt else Q(pk=None))
    rows = PairingRequest.objects.filter(platform=source.platform)
    latest = rows.filter(own).order_by("-requested_at").first()
    if latest and (seconds := REQUEST_SECONDS - (ledger.now - latest.requested_at).total_seconds()) > 0:
        return Asked(outcome=Outcome.RATE_LIMITED, seconds=seconds)
    asked = PairingRequest(
        platform=source.platform, account=source.account, chat_id=source.chat_id, thread_id=source.thread_id[:255],
        user_id=source.user_id, user_id_alt=source.user_id_alt, user_name=_readable(source.user_name),
        message_id=message_id[:255], message_chars=message_chars, requested_at=ledger.now,
    )  # fmt: skip
    if rows.filter(state=PairingState.PENDING).exclude(own).count() >= MOST_PENDING:
        return _turn_away(asked)
    code = codes.new_code()
    asked.code_salt = codes.new_salt()
    asked.code_hash = codes.hashed(code, salt=asked.code_salt)
    replaced = rows.filter(own, state=PairingState.PENDING).first()
    if replaced:
        _settle(replaced, PairingState.EXPIRED, by=audit.SYSTEM, now=ledger.now, reason="they asked again")
    asked.save(force_insert=True)
    ledger.write(
        action=AuditAction.PAIRING_REQUESTED, by=Actor(_subject(asked), Door.CHAT), platform=asked.platform,
        subject=_subject(asked), before=_kept(replaced) if replaced else None, after=_kept(asked),
    )  # fmt: skip
    until = ledger.now + timedelta(seconds=CODE_SECONDS)
    text = pairing_replies.code(code, platform=asked.platform, until=until, minutes=CODE_SECONDS // 60)
    chat = _tell(asked, "code", text, is_secret=True)
    log.info("Gave %s user %r a pairing code, #%d.", asked.platform, asked.user_id, asked.pk)
    return Asked(outcome=Outcome.ISSUED, seconds=REQUEST_SECONDS, code=code, request_id=asked.pk, chat=chat)


def _turn_away(asked: PairingRequest) -> Asked:
    """Tells them so; the row is what remembers that they were told."""
    asked.state = PairingState.TURNED_AWAY
    asked.save(force_insert=True)
    chat = _tell(asked, "turned_away", pairing_replies.TURNED_AWAY)
    log.info("Turned %s user %r away: %d requests wait already.", asked.platform, asked.user_id, MOST_PENDING)
    return Asked(outcome=Outcome.TURNED_AWAY, seconds=REQUEST_SECONDS, request_id=asked.pk, chat=chat)


def _by_number(number: int, *, ledger: Ledger) -> PairingRequest | PairingError:
    found = _undecided(PairingRequest.objects.filter(pk=number).first(), number=number)
    if isinstance(found, PairingRequest) and (until := _locked_until(found.platform, now=ledger.now)):
        return LockedOut(platform=found.platform, until=until)
    return found


def _by_code(platform: str, text: str, *, by: Actor, ledger: Ledger) -> PairingRequest | PairingError:
    if until := _locked_until(platform, now=ledger.now):
        return LockedOut(platform=platform, until=until)
    try:
        code = codes.normalised(text)
    except codes.BadCode as error:
        return _count_failure(platform, by=by, ledger=ledger, why=str(error))
    after = ledger.now - timedelta(seconds=RECOGNISED_SECONDS)
    known = PairingRequest.objects.filter(platform=platform, requested_at__gt=after).exclude(code_hash="")
    # Each is compared, whichever fits.
    fitting = [row for row in known if codes.matches(code, salt=row.code_salt, digest=row.code_hash)]
    if not fitting:
        return _count_failure(platform, by=by, ledger=ledger)
    return _undecided(fitting[0], number=fitting[0].pk)


def _count_failure(platform: str, *, by: Actor, ledger: Ledger, why: str = "") -> UnknownCode:
    """Counts a wrong code. Only a lock-out sets the count back."""
    guard, _ = PairingGuard.objects.get_or_create(platform=platform)
    guard.failures += 1
    left = MOST_FAILURES - guard.failures
    log.warning("A wrong pairing code for %s by %s; %d more lock it.", platform, by.name, max(0, left))
    if left > 0:
        guard.save()
        return UnknownCode(platform=platform, left=left, why=why)
    guard.failures, guard.locked_until = 0, ledger.now + timedelta(seconds=LOCK_SECONDS)
    guard.save()
    ledger.write(
        action=AuditAction.PAIRING_LOCKED, by=by, platform=platform, subject=platform,
        after={"locked_until": guard.locked_until.isoformat()}, reason=f"{MOST_FAILURES} wrong codes",
    )  # fmt: skip
    return UnknownCode(platform=platform, left=0, why=why, until=guard.locked_until)


def _undecided(found: PairingRequest | None, *, number: int) -> PairingRequest | PairingError:
    """The request, if it can be decided, or why not."""
    if found is None or found.state == PairingState.TURNED_AWAY:
        return UnknownRequest(f"There is no pairing request #{number}.")
    if found.state == PairingState.EXPIRED:
        return CodeExpired(found)
    return found if found.state == PairingState.PENDING else AlreadyDecided(found)


def _let_in(found: PairingRequest, *, by: Actor, ledger: Ledger) -> PairingRequest | PairingError:
    source = SessionSource(
        platform=found.platform, account=found.account, chat_id=found.chat_id, chat_type=ChatType.DM,
        user_id=found.user_id, user_id_alt=found.user_id_alt, user_name=found.user_name,
    )  # fmt: skip
    decision = decide_now(source, at=ledger.now)
    if decision.ground is Ground.BANNED:
        return Banned(found, rule=decision.rule)
    before = _kept(found)
    rule = _rule_of(found, by=by)
    was_in_force = rule.pk is not None and rule.is_active
    before["rule"] = rules.kept(rule) if was_in_force else None
    rule.note = rule.note if was_in_force else ""
    rule.origin, rule.name, rule.expires_at = Origin.PAIRING, found.user_name, None
    rules.activate(rule, ledger)
    _settle(found, PairingState.APPROVED, by=by, now=ledger.now)
    ledger.write(
        action=AuditAction.PAIRING_APPROVED, by=by, platform=found.platform, subject=rule.subject_id, before=before,
        after=rules.kept(rule),
    )  # fmt: skip
    people.note([source])
    chat = _tell(found, "approved", pairing_replies.APPROVED)
    transaction.on_commit(functools.partial(doorbell.ring_delivery, [chat]), robust=True)
    return found


def _rule_of(found: PairingRequest, *, by: Actor) -> AccessRule:
    """The row that lets the person in: the one that did so before, or a new one."""
    what = {
        "effect": Effect.ALLOW, "subject": SubjectKind.USER, "platform": found.platform, "subject_id": _subject(found)
    }  # fmt: skip
    return AccessRule.objects.filter(**what).first() or AccessRule(**what, created_by=by.name[:150])


def _decide(
    found: PairingRequest, state: PairingState, action: AuditAction, *, by: Actor, ledger: Ledger, reason: str = ""
) -> None:
    before = _kept(found)
    _settle(found, state, by=by, now=ledger.now, reason=reason)
    ledger.write(
        action=action, by=by, platform=found.platform, subject=_subject(found), before=before, after=_kept(found),
        reason=reason,
    )  # fmt: skip


def _settle(found: PairingRequest, state: PairingState, *, by: Actor, now: datetime, reason: str = "") -> None:
    found.state, found.decided_at, found.decided_by, found.reason = state, now, by.name[:150], reason
    found.save(update_fields=["state", "decided_at", "decided_by", "reason"])


def _expire(ledger: Ledger) -> int:
    before = ledger.now - timedelta(seconds=CODE_SECONDS)
    due = list(PairingRequest.objects.filter(state=PairingState.PENDING, requested_at__lte=before).order_by("pk"))
    reason = f"{CODE_SECONDS // 60} minutes have passed"
    for found in due:
        _decide(found, PairingState.EXPIRED, AuditAction.PAIRING_EXPIRED, by=audit.SYSTEM, ledger=ledger, reason=reason)
    return len(due)


def _locked_until(platform: str, *, now: datetime) -> datetime | None:
    guard = PairingGuard.objects.filter(platform=platform, locked_until__gt=now).first()
    return guard.locked_until if guard else None


def _tell(found: PairingRequest, what: str, text: str, *, is_secret: bool = False) -> str:
    """Puts a message to the person into the outbox; returns the lane it waits in."""
    outbox.enqueue(
        outbox.Draft(
            key=f"pairing/{found.pk}/{what}", platform=found.platform, account=found.account, chat_id=found.chat_id,
            thread_id=found.thread_id, reply_to="" if what == "approved" else found.message_id, text=text,
            is_secret=is_secret,
        )
    )  # fmt: skip
    return delivery_key(platform=found.platform, account=found.account, chat_id=found.chat_id)


def _subject(found: PairingRequest) -> str:
    """The id that a rule names: the one that outlives the other, where the platform has two."""
    return found.user_id_alt or found.user_id


def _readable(name: str) -> str:
    """A name as it may be shown beside others: one line, and nothing in it that turns or hides text."""
    return " ".join("".join(character if character.isprintable() else " " for character in name).split())[:255]


def _kept(found: PairingRequest) -> dict[str, Any]:
    """What the audit keeps of a request: nothing of the code, not even its hash."""
    kept = ("user_id", "user_id_alt", "user_name", "account", "chat_id", "state")
    return {"request": found.pk, **{name: str(getattr(found, name)) for name in kept}}
