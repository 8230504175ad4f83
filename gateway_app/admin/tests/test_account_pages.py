"""Accounts in the admin: rights are changed through one function, and nobody raises anybody above themselves."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client, TestCase
from django.urls import reverse

from gateway_app.access import roles
from gateway_app.access.roles import Role
from gateway_app.access.tests.test_roles import account
from gateway_app.models import AuditEntry

USERS = reverse("admin:auth_user_changelist")
PASSWORD = "correct horse battery"


def page(user: User, what: str = "change") -> str:
    return f"{USERS}{user.pk}/{what}/"


def form(user: User, **values: Any) -> dict[str, Any]:
    """What a browser sends for an account as it is, with `values` changed; a value of None leaves a box unticked."""
    rights = roles.rights_of(user)
    boxes = {name: "on" for name in ("is_active", "is_staff", "is_superuser") if getattr(rights, name)}
    groups = [group.pk for group in Group.objects.filter(name__in=rights.groups)]
    sent = {"username": user.username, "first_name": "", "last_name": "", "email": "", "reason": "", "groups": groups}
    return {name: value for name, value in {**sent, **boxes, **values}.items() if value is not None}


class AccountCase(TestCase):
    def setUp(self) -> None:
        roles.ensure_roles()
        self.root = User.objects.create_superuser("root", password=PASSWORD)
        self.client.force_login(self.root)

    def role(self, role: Role) -> int:
        return Group.objects.get(name=role.value).pk

    def rows(self) -> list[tuple[str, str, str, str]]:
        return list(AuditEntry.objects.order_by("pk").values_list("action", "door", "actor", "subject"))


class RightsTests(AccountCase):
    def test_every_change_of_rights_is_audited_exactly_once(self) -> None:
        ben = account("ben")
        changes: list[dict[str, Any]] = [
            {"groups": [self.role(Role.VIEWER)]},
            {"is_staff": None},
            {"is_active": None},
            {"is_superuser": "on", "is_active": "on", "is_staff": "on"},
        ]
        for count, change in enumerate(changes, 1):
            self.assertEqual(self.client.post(page(ben), form(ben, **change)).status_code, 302, change)
            self.assertEqual(self.rows(), [("role_changed", "admin", "root", "ben")] * count)
        self.assertEqual(AuditEntry.objects.latest("pk").after["superuser"], True)

    def test_a_change_of_the_name_alone_is_none_of_the_audits(self) -> None:
        ben = account("ben", Role.VIEWER)
        self.client.post(page(ben), form(ben, username="root2", first_name="Ben", email="ben@example.org"))
        ben.refresh_from_db()
        self.assertEqual((ben.first_name, ben.email), ("Ben", "ben@example.org"))
        self.assertEqual(ben.username, "ben")  # the audit names the account by it
        self.assertEqual(self.rows(), [])

    def test_a_reason_is_kept(self) -> None:
        ben = account("ben", Role.VIEWER)
        self.client.post(page(ben), form(ben, is_active=None, reason="left"))
        self.assertEqual(AuditEntry.objects.get().reason, "left")

    def test_a_new_account_has_no_rights_and_is_audited_once(self) -> None:
        data = {"username": "new", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
        self.assertEqual(self.client.post(f"{USERS}add/", {**data, "is_superuser": "on"}).status_code, 302)
        new = User.objects.get(username="new")
        self.assertEqual((new.is_staff, new.is_superuser), (False, False))
        self.assertEqual(self.rows(), [("role_changed", "admin", "root", "new")])
        self.assertIsNone(AuditEntry.objects.get().before)

    def test_the_last_superuser_cannot_be_lost(self) -> None:
        response = self.client.post(page(self.root), form(self.root, is_superuser=None))
        self.assertContains(response, "is the only active superuser")
        self.root.refresh_from_db()
        self.assertTrue(self.root.is_superuser)

    def test_accounts_are_not_deleted(self) -> None:
        ben = account("ben")
        self.assertEqual(self.client.post(page(ben, "delete"), {"post": "yes"}).status_code, 403)
        self.client.post(USERS, {"action": "delete_selected", "_selected_action": [ben.pk], "post": "yes"})
        self.assertTrue(User.objects.filter(pk=ben.pk).exists())

    def test_the_roles_are_not_edited_by_hand(self) -> None:
        group = Group.objects.get(name="viewer")
        path = reverse("admin:auth_group_change", args=[group.pk])
        self.assertEqual(self.client.get(path).status_code, 200)
        self.assertEqual(self.client.post(path, {"name": "viewer", "permissions": []}).status_code, 403)
        self.assertEqual(self.client.get(reverse("admin:auth_group_add")).status_code, 403)
        self.assertEqual(self.client.post(reverse("admin:auth_group_delete", args=[group.pk])).status_code, 403)
        self.assertTrue(group.permissions.exists())

    def test_a_new_password_signs_out_everywhere_else(self) -> None:
        ben = account("ben", Role.VIEWER)
        elsewhere = Client()
        elsewhere.force_login(ben)
        self.assertEqual(elsewhere.get(reverse("admin:index")).status_code, 200)
        data = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
        path = reverse("admin:auth_user_password_change", args=[ben.pk])
        self.assertEqual(self.client.post(path, data).status_code, 302)
        self.assertEqual(elsewhere.get(reverse("admin:index")).status_code, 302)


class OperatorTests(AccountCase):
    def setUp(self) -> None:
        super().setUp()
        self.olga = account("olga", Role.OPERATOR)
        self.client.force_login(self.olga)

    def test_an_operator_gives_and_takes_roles(self) -> None:
        ben = account("ben")
        self.client.post(page(ben), form(ben, groups=[self.role(Role.APPROVER)]))
        self.assertEqual(roles.rights_of(ben).groups, {"approver"})
        self.client.post(page(ben), form(ben, groups=[]))
        self.assertEqual(self.rows(), [("role_changed", "admin", "olga", "ben")] * 2)

    def test_an_operator_makes_nobody_a_superuser_and_gives_no_single_permission(self) -> None:
        ben = account("ben")
        for user in (ben, self.olga):
            self.client.post(page(user), form(user, is_superuser="on", user_permissions=["1"]))
            rights = roles.rights_of(user)
            self.assertEqual((rights.is_superuser, rights.permissions), (False, frozenset()))
        self.assertEqual(self.rows(), [])

    def test_an_operator_does_not_give_a_group_that_may_do_more(self) -> None:
        ben, more = account("ben"), Group.objects.create(name="owners")
        more.permissions.set(roles._permissions(["auth.delete_user"]))
        response = self.client.post(page(ben), form(ben, groups=[more.pk]))
        self.assertContains(response, "rights that you do not have")
        self.assertEqual(self.rows(), [])

    def test_an_operator_touches_no_account_that_may_do_more(self) -> None:
        self.assertEqual(self.client.post(page(self.root), form(self.root, email="x@example.org")).status_code, 403)
        path = reverse("admin:auth_user_password_change", args=[self.root.pk])
        self.assertEqual(self.client.get(path).status_code, 403)
        data = {"password1": PASSWORD + "x", "password2": PASSWORD + "x", "usable_password": "true"}
        self.assertEqual(self.client.post(path, data).status_code, 403)
        self.root.refresh_from_db()
        self.assertTrue(self.root.check_password(PASSWORD))
        content = self.client.get(page(self.root)).content.decode()
        self.assertNotIn(self.root.password.rpartition("$")[2], content)

    def test_viewers_and_approvers_do_not_get_at_accounts(self) -> None:
        for role in (Role.VIEWER, Role.APPROVER):
            user = account(role.value, role)
            self.client.force_login(user)
            self.assertEqual(self.client.get(USERS).status_code, 403)
            self.assertEqual(self.client.post(page(user), form(user, is_superuser="on")).status_code, 403)
        self.assertEqual(self.rows(), [])


class RolePageTests(AccountCase):
    """Which pages a role opens."""

    def opened(self, role: Role) -> dict[str, int]:
        self.client.force_login(account(f"{role}-1", role))
        models = (
            "pairingrequest",
            "person",
            "accessrule",
            "auditentry",
            "session",
            "inboundmessage",
            "sendgate",
            "lane",
        )
        pages = {model: reverse(f"admin:gateway_app_{model}_changelist") for model in models}
        pages |= {
            "rule": reverse("admin:gateway_app_accessrule_add"), "user": USERS,
            "simulator": reverse("admin:gateway_app_accessrule_simulator"), "index": reverse("admin:index"),
        }  # fmt: skip
        return {name: self.client.get(path).status_code for name, path in pages.items()}

    def test_a_viewer_sees_every_page_of_the_gateway(self) -> None:
        closed = [name for name, status in self.opened(Role.VIEWER).items() if status != 200]
        self.assertEqual(closed, ["rule", "user"])

    def test_an_approver_sees_no_more_and_an_operator_all(self) -> None:
        closed = [name for name, status in self.opened(Role.APPROVER).items() if status != 200]
        self.assertEqual(closed, ["rule", "user"])
        self.assertEqual(set(self.opened(Role.OPERATOR).values()), {200})
