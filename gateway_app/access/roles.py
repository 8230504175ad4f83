"""What the staff may do in the admin: three roles, and every change of an account's rights with its audit row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max, Q

from gateway_app.access import audit
from gateway_app.access.audit import Actor
from gateway_app.models import AuditEntry
from gateway_app.models.audit import AuditAction


class Role(StrEnum):
    """Each may do what the ones before it may. The names are those of Django's groups."""

    VIEWER = "viewer"
    """Sees every page of the gateway, and changes nothing."""
    APPROVER = "approver"
    """Decides about pairings and tool calls, and allows and revokes people."""
    OPERATOR = "operator"
    """Does everything an operator has to: rules and bans, dead letters, gates, the schedule, and others' roles."""


APPROVING = (
    "gateway_app.change_pairingrequest", "gateway_app.change_person", "gateway_app.change_question",
    "gateway_app.change_toolpermission",
)  # fmt: skip
OPERATING = (
    "gateway_app.add_accessrule", "gateway_app.change_accessrule", "gateway_app.delete_accessrule",
    "gateway_app.change_inboundmessage", "gateway_app.change_outboundpart", "gateway_app.change_sendgate",
    "honcho_app.change_honchowrite",
    "django_celery_beat.change_periodictask", "auth.view_user", "auth.add_user", "auth.change_user", "auth.view_group",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What an account may do."""

    is_active: bool = True
    is_staff: bool = False
    is_superuser: bool = False
    groups: frozenset[str] = frozenset()
    """By name: the roles, and groups of the installation's own."""
    permissions: frozenset[str] = frozenset()
    """Those given to the account itself, such as `gateway_app.view_lane`."""

    def to_json(self) -> dict[str, Any]:
        """What the audit keeps."""
        return {
            "roles": sorted(self.groups), "staff": self.is_staff, "superuser": self.is_superuser,
            "active": self.is_active, "permissions": sorted(self.permissions),
        }  # fmt: skip


def permissions_of(role: Role) -> frozenset[str]:
    """What a role may do, as names such as `gateway_app.view_lane`."""
    viewing = {
        f"{app}.view_{model._meta.model_name}"
        for app in ("gateway_app", "honcho_app")
        for model in apps.get_app_config(app).get_models()
    }
    viewing |= {"django_celery_beat.view_periodictask", "admin.view_logentry"}
    approving = viewing | set(APPROVING)
    return frozenset({Role.VIEWER: viewing, Role.APPROVER: approving, Role.OPERATOR: approving | set(OPERATING)}[role])


def ensure_roles() -> None:
    """Makes the three groups and gives each the permissions of its role, no more. Safe at once in many processes."""
    for role in Role:
        with transaction.atomic():
            group, _ = Group.objects.get_or_create(name=role.value)
            wanted = set(_permissions(permissions_of(role)))
            found = set(group.permissions.all())
            group.permissions.add(*(wanted - found))
            group.permissions.remove(*(found - wanted))


def rights_of(user: User) -> Rights:
    """The rights of an account, as they stand in the database."""
    fresh = User.objects.get(pk=user.pk)
    permissions = fresh.user_permissions.values_list("content_type__app_label", "codename")
    return Rights(
        is_active=fresh.is_active,
        is_staff=fresh.is_staff,
        is_superuser=fresh.is_superuser,
        groups=frozenset(fresh.groups.values_list("name", flat=True)),
        permissions=frozenset(f"{app}.{codename}" for app, codename in permissions),
    )


def change_role(*, user: User, roles: Iterable[str], by: Actor, reason: str = "") -> bool:
    """Gives an account these roles and no other, and with a role the right to sign in to the admin.

    Groups of the installation's own stay. Returns False where nothing had to be changed; then nothing is written.
    Raises `ValidationError` for what is no role.
    """
    wanted = set(roles)
    if unknown := wanted - set(Role):
        raise ValidationError(f"The role is {', '.join(sorted(unknown))!r}; allowed: {', '.join(Role)}.")
    old = rights_of(user)
    rest = old.groups - set(Role)
    is_staff = bool(wanted or old.is_superuser)
    return change_rights(user=user, rights=replace(old, groups=rest | wanted, is_staff=is_staff), by=by, reason=reason)


def change_rights(*, user: User, rights: Rights, by: Actor, granter: User | None = None, reason: str = "") -> bool:
    """Gives an account exactly these rights, with one audit row; returns False, and writes none, where it has them.

    `granter` is the account that does it, which can neither give nor take what it does not have itself; None at the
    command line. Raises `ValidationError` that says why not.
    """
    with transaction.atomic():
        ledger = audit.open_ledger()
        old = rights_of(user)
        if old == rights:
            return False
        check(user=user, rights=rights, granter=granter and User.objects.get(pk=granter.pk))
        groups = list(Group.objects.filter(name__in=rights.groups))
        if missing := rights.groups - {group.name for group in groups}:
            raise ValidationError(
                f"There is no group {', '.join(sorted(missing))!r}. `manage.py prepare` makes the roles."
            )
        User.objects.filter(pk=user.pk).update(
            is_active=rights.is_active, is_staff=rights.is_staff, is_superuser=rights.is_superuser
        )
        user.groups.set(groups)
        user.user_permissions.set(_permissions(rights.permissions))
        ledger.write(
            action=AuditAction.ROLE_CHANGED, by=by, subject=user.get_username(), before=old.to_json(),
            after=rights.to_json(), reason=reason,
        )  # fmt: skip
    user.refresh_from_db(fields=["is_active", "is_staff", "is_superuser"])
    return True


def record_new(*, user: User, by: Actor, reason: str = "") -> None:
    """Writes the audit row of an account that was just made. Must run in the transaction that makes it."""
    ledger = audit.open_ledger()
    ledger.write(
        action=AuditAction.ROLE_CHANGED, by=by, subject=user.get_username(), after=rights_of(user).to_json(),
        reason=reason,
    )  # fmt: skip


def note_elsewhere() -> int:
    """Audits the rights that something else has changed, such as `createsuperuser` or a shell; returns how many.

    They are compared with what the audit says last of each account, so whoever looks, each change is one row.
    """
    if not _unaudited():
        return 0
    with transaction.atomic():
        ledger = audit.open_ledger()
        found = _unaudited()
        for name, (before, after) in sorted(found.items()):
            ledger.write(
                action=AuditAction.ROLE_CHANGED, by=audit.SYSTEM, subject=name, before=before, after=after,
                reason="changed by something else",
            )  # fmt: skip
    return len(found)


def _unaudited() -> dict[str, tuple[dict[str, Any] | None, dict[str, Any]]]:
    """By account, what the audit says last of its rights and what they are, where the two differ."""
    rows = AuditEntry.objects.filter(action=AuditAction.ROLE_CHANGED)
    newest = rows.values("subject").annotate(newest=Max("pk")).values("newest")
    audited = dict(rows.filter(pk__in=newest).values_list("subject", "after"))
    rights = Q(is_staff=True) | Q(is_superuser=True) | Q(groups__isnull=False) | Q(user_permissions__isnull=False)
    accounts = User.objects.filter(rights | Q(username__in=list(audited))).distinct()
    found = {user.get_username(): rights_of(user).to_json() for user in accounts}
    nothing = Rights(is_active=False).to_json()
    found |= {name: nothing for name in audited if name not in found}
    return {name: (audited.get(name), after) for name, after in found.items() if audited.get(name) != after}


def check(*, user: User, rights: Rights, granter: User | None = None) -> None:
    """Raises `ValidationError` where the account may not get these rights, or not from `granter`."""
    if granter and not may_manage(granter=granter, user=user):
        raise ValidationError(f"{user.get_username()} may do more than you, so that you cannot change this account.")
    if granter and not _covers(granter, rights):
        raise ValidationError("You can give nobody, yourself included, rights that you do not have.")
    superusers = User.objects.filter(is_superuser=True, is_active=True)
    stays = rights.is_superuser and rights.is_active
    if not stays and set(superusers.values_list("pk", flat=True)[:2]) == {user.pk}:
        raise ValidationError(f"{user.get_username()} is the only active superuser, and stays one.")


def may_manage(*, granter: User, user: User) -> bool:
    """Whether one account may change another: only one that may do nothing the first may not."""
    return _covers(granter, rights_of(user))


def _covers(granter: User, rights: Rights) -> bool:
    if granter.is_superuser:
        return granter.is_active
    return not rights.is_superuser and _granted(rights) <= granter.get_all_permissions()


def _granted(rights: Rights) -> set[str]:
    by_groups = Permission.objects.filter(group__name__in=rights.groups)
    names = by_groups.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in names} | rights.permissions


def _permissions(names: Iterable[str]) -> list[Permission]:
    """The rows of permissions. Raises `LookupError` for a name that there is not."""
    wanted = set(names)
    apps_named = {name.partition(".")[0] for name in wanted}
    rows = Permission.objects.filter(content_type__app_label__in=apps_named).select_related("content_type")
    found = {f"{row.content_type.app_label}.{row.codename}": row for row in rows}
    if missing := wanted - found.keys():
        raise LookupError(f"There is no permission {', '.join(sorted(missing))}.")
    return [found[name] for name in sorted(wanted)]
