"""Allowances and bans as rows: added, changed and taken back, each with its audit row in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from gateway_app.access import audit, people
from gateway_app.access.audit import Actor, Ledger
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.access.standing import Standing, standing
from gateway_app.models import AccessRule
from gateway_app.models.access import Effect, Origin, SubjectKind
from gateway_app.models.audit import AuditAction
from gateway_app.platforms import registry

LONGEST_ID = 255
KEPT = ("effect", "subject", "platform", "subject_id", "name", "note", "origin", "expires_at")
"""What the audit keeps of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """What `allow()` or `deny()` came to."""

    rule: AccessRule
    is_new: bool
    is_changed: bool
    """False where the row was in force already, just so: then nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What was taken back, and what lets the person in even now."""

    removed: list[AccessRule]
    standing: Standing | None
    """None for a chat, and for what is about every platform."""


def allow(**what: Any) -> Put:
    """Lets a person or a chat in; see `put()`."""
    return put(effect=Effect.ALLOW, **what)


def deny(**what: Any) -> Put:
    """Bans a person or a chat, whatever else lets them in; see `put()`."""
    return put(effect=Effect.DENY, **what)


def put(
    *,
    effect: Effect,
    platform: str,
    subject_id: str,
    by: Actor,
    subject: SubjectKind = SubjectKind.USER,
    name: str = "",
    note: str = "",
    expires_at: datetime | None = None,
    reason: str = "",
) -> Put:
    """Puts a rule in force, or changes the one about the same subject.

    `platform` may be empty for a person: every platform. `subject_id` may be `*`: everybody, or every group chat.
    Raises `ValidationError` that says what was found and what is allowed.
    """
    what = {"effect": effect, "subject": subject, "platform": platform, "subject_id": subject_id.strip()}
    check_subject(subject=subject, platform=platform, subject_id=what["subject_id"])
    with transaction.atomic():
        ledger = audit.open_ledger()
        if expires_at is not None and expires_at <= ledger.now:
            raise ValidationError(f"The end is {expires_at:%Y-%m-%d %H:%M} UTC; allowed: a moment yet to come.")
        found = _found(**what)
        before = kept(found) if found and found.is_active else None
        rule = found or AccessRule(**what, created_by=by.name[:150])
        if before is None or found is None:
            rule.origin = Origin.MANUAL
        rule.name, rule.note, rule.expires_at = name[:255], note, expires_at
        if before == kept(rule):
            return Put(rule=rule, is_new=False, is_changed=False)
        activate(rule, ledger)
        ledger.write(
            action=AuditAction.RULE_CHANGED if before else AuditAction.RULE_ADDED,
            by=by, platform=platform, subject=rule.subject_id, before=before, after=kept(rule), reason=reason,
        )  # fmt: skip
    gatekeeper.forget()
    return Put(rule=rule, is_new=before is None, is_changed=True)


def remove(*, rule_id: int, by: Actor, reason: str = "") -> Removal:
    """Takes one rule back. Removes nothing where it is not in force any more."""
    with transaction.atomic():
        ledger = audit.open_ledger()
        rule = AccessRule.objects.filter(pk=rule_id, is_active=True).first()
        if rule:
            _deactivate(rule, ledger, action=AuditAction.RULE_REMOVED, by=by, reason=reason)
    return _removed([rule] if rule else [])


def revoke(*, platform: str, user_id: str, by: Actor, reason: str = "") -> Removal:
    """Takes back every allowance that names the person on the platform: written by an operator, or by pairing.

    An allowance for every platform, a wildcard and the lists of the configuration stay; what still lets the person
    in is in the answer's `standing`.
    """
    check_subject(subject=SubjectKind.USER, platform=platform, subject_id=user_id)
    removed = []
    ids = people.identities(platform=platform, user_id=user_id)
    rows = AccessRule.objects.filter(
        effect=Effect.ALLOW, subject=SubjectKind.USER, platform=platform, subject_id__in=ids, is_active=True
    )
    with transaction.atomic():
        ledger = audit.open_ledger()
        for rule in rows.order_by("pk"):
            _deactivate(rule, ledger, action=AuditAction.RULE_REMOVED, by=by, reason=reason)
            removed.append(rule)
    gatekeeper.forget()
    return Removal(removed=removed, standing=standing(platform=platform, user_id=user_id))


def expire_due() -> int:
    """Takes back the rules whose end has come, each with its audit row; returns how many. They had ceased to count."""
    with transaction.atomic():
        ledger = audit.open_ledger()
        due = list(AccessRule.objects.filter(is_active=True, expires_at__lte=ledger.now).order_by("pk"))
        for rule in due:
            _deactivate(rule, ledger, action=AuditAction.RULE_EXPIRED, by=audit.SYSTEM, reason="its end has come")
    return len(due)


def activate(rule: AccessRule, ledger: Ledger) -> None:
    """Writes the row as being in force; the caller writes its audit row into the same ledger."""
    rule.is_active, rule.version, rule.changed_at = True, ledger.version, ledger.now
    rule.save()


def kept(rule: AccessRule) -> dict[str, Any]:
    """What the audit keeps of a row."""
    values = {name: getattr(rule, name) for name in KEPT}
    return {name: str(value) if value is not None else None for name, value in values.items()}


def check_subject(*, subject: SubjectKind, platform: str, subject_id: str) -> None:
    """Raises `ValidationError` for what cannot name a person or a chat of a platform."""
    if platform not in ("", *registry.names()) or (not platform and subject is SubjectKind.CHAT):
        allowed = ", ".join(registry.names()) + ("" if subject is SubjectKind.CHAT else ", or empty for every one")
        raise ValidationError(f"The platform is {platform[:40]!r}; allowed: {allowed}.")
    is_plain = subject_id.isprintable() and subject_id == subject_id.strip()
    if not (subject_id and is_plain and len(subject_id) <= LONGEST_ID):
        shown = repr(subject_id[:40]) + ("…" if len(subject_id) > 40 else "")
        raise ValidationError(
            f"The id is {shown} ({len(subject_id):,} characters); allowed: 1 to {LONGEST_ID} printable characters,"
            " as the platform has it, or * for all."
        )


def _found(**what: Any) -> AccessRule | None:
    return AccessRule.objects.filter(**what).first()


def _deactivate(rule: AccessRule, ledger: Ledger, *, action: AuditAction, by: Actor, reason: str) -> None:
    before = kept(rule)
    rule.is_active, rule.version, rule.changed_at = False, ledger.version, ledger.now
    rule.save(update_fields=["is_active", "version", "changed_at"])
    ledger.write(action=action, by=by, platform=rule.platform, subject=rule.subject_id, before=before, reason=reason)


def _removed(rules: list[AccessRule]) -> Removal:
    gatekeeper.forget()
    of_people = [rule for rule in rules if rule.subject == SubjectKind.USER and rule.platform]
    found = standing(platform=of_people[0].platform, user_id=of_people[0].subject_id) if of_people else None
    return Removal(removed=rules, standing=found)
