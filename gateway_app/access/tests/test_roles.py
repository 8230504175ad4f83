"""Roles: what each may do, and that every change of an account's rights is one row of the audit."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from typing import Any
from unittest import mock

from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TestCase, TransactionTestCase

from gateway_app.access import roles
from gateway_app.access.audit import Actor
from gateway_app.access.roles import Rights, Role
from gateway_app.models import AuditEntry
from gateway_app.models.audit import Door

ANN = Actor("ann", Door.COMMAND_LINE)


def account(name: str, *given: Role, **values: Any) -> User:
    """An account with these roles, made without an audit row."""
    user = User.objects.create_user(name, is_staff=True, **values)
    user.groups.set(Group.objects.filter(name__in=given))
    return User.objects.get(pk=user.pk)


class RoleTests(TestCase):
    def setUp(self) -> None:
        roles.ensure_roles()
        self.root = User.objects.create_superuser("root")

    def rows(self) -> list[tuple[str, str, Any, Any]]:
        return list(AuditEntry.objects.order_by("pk").values_list("action", "subject", "before", "after"))

    def refused(self, user: User, rights: Rights, granter: User) -> str:
        with self.assertRaises(ValidationError) as caught:
            roles.change_rights(user=user, rights=rights, by=ANN, granter=granter)
        return " ".join(caught.exception.messages)

    def test_each_role_may_do_what_the_one_before_it_may_and_more(self) -> None:
        viewer, approver, operator = (roles.permissions_of(role) for role in Role)
        self.assertLess(viewer, approver)
        self.assertLess(approver, operator)
        self.assertFalse([name for name in viewer if ".view_" not in name])
        self.assertFalse(
            [name for name in operator if name.startswith("auth.") and "group" in name and "view" not in name]
        )
        self.assertNotIn("auth.delete_user", operator)

    def test_making_the_roles_again_mends_what_was_changed_by_hand(self) -> None:
        group = Group.objects.get(name="viewer")
        group.permissions.add(Permission.objects.get(codename="delete_user"))
        group.permissions.remove(Permission.objects.get(codename="view_lane"))
        roles.ensure_roles()
        names = {f"{row.content_type.app_label}.{row.codename}" for row in group.permissions.all()}
        self.assertEqual(names, roles.permissions_of(Role.VIEWER))

    def test_a_role_is_given_with_one_audit_row_and_the_right_to_sign_in_to_the_admin(self) -> None:
        user = User.objects.create_user("ben")
        self.assertTrue(roles.change_role(user=user, roles=[Role.APPROVER], by=ANN, reason="joins"))
        self.assertTrue(user.is_staff)
        before = {"roles": [], "staff": False, "superuser": False, "active": True, "permissions": []}
        after = {**before, "roles": ["approver"], "staff": True}
        self.assertEqual(self.rows(), [("role_changed", "ben", before, after)])
        self.assertEqual(AuditEntry.objects.get().reason, "joins")
        self.assertTrue(User.objects.get(pk=user.pk).has_perm("gateway_app.change_pairingrequest"))

    def test_what_is_so_already_writes_nothing(self) -> None:
        user = account("ben", Role.VIEWER)
        self.assertFalse(roles.change_role(user=user, roles=[Role.VIEWER], by=ANN))
        self.assertEqual(self.rows(), [])

    def test_a_role_takes_the_place_of_another_and_leaves_other_groups(self) -> None:
        own = Group.objects.create(name="night shift")
        user = account("ben", Role.VIEWER)
        user.groups.add(own)
        roles.change_role(user=user, roles=[Role.OPERATOR], by=ANN)
        self.assertEqual(roles.rights_of(user).groups, {"operator", "night shift"})
        roles.change_role(user=user, roles=[], by=ANN)
        rights = roles.rights_of(user)
        self.assertEqual((rights.groups, rights.is_staff), ({"night shift"}, False))
        self.assertEqual(len(self.rows()), 2)

    def test_a_word_that_is_no_role_is_said_with_those_that_are(self) -> None:
        with self.assertRaisesRegex(ValidationError, "'boss'; allowed: viewer, approver, operator"):
            roles.change_role(user=account("ben"), roles=["boss"], by=ANN)

    def test_every_kind_of_right_is_one_row_together(self) -> None:
        user = account("ben")
        wanted = Rights(
            is_active=False, is_staff=True, is_superuser=True, groups=frozenset({"viewer"}),
            permissions=frozenset({"gateway_app.view_lane"}),
        )  # fmt: skip
        self.assertTrue(roles.change_rights(user=user, rights=wanted, by=ANN))
        self.assertEqual(roles.rights_of(user), wanted)
        self.assertEqual(self.rows()[0][3]["permissions"], ["gateway_app.view_lane"])
        self.assertEqual(len(self.rows()), 1)

    def test_nobody_gives_more_than_they_have(self) -> None:
        operator, ben = account("olga", Role.OPERATOR), account("ben", Role.VIEWER)
        rights = roles.rights_of(ben)
        self.assertTrue(
            roles.change_rights(
                user=ben, rights=replace(rights, groups=frozenset({"operator"})), by=ANN, granter=operator
            )
        )
        for more in (
            replace(rights, is_superuser=True),
            replace(rights, permissions=frozenset({"auth.delete_user"})),
        ):
            self.assertIn("rights that you do not have", self.refused(ben, more, operator))
        own = roles.rights_of(operator)
        self.assertIn("yourself included", self.refused(operator, replace(own, is_superuser=True), operator))
        approver = account("abe", Role.APPROVER)
        self.assertIn(
            "do not have", self.refused(account("eve"), replace(own, groups=frozenset({"operator"})), approver)
        )
        self.assertEqual(len(self.rows()), 1)

    def test_nobody_changes_an_account_that_may_do_more(self) -> None:
        operator, approver = account("olga", Role.OPERATOR), account("abe", Role.APPROVER)
        for user, granter in ((self.root, operator), (operator, approver)):
            lowered = replace(roles.rights_of(user), is_active=False)
            self.assertIn("may do more than you", self.refused(user, lowered, granter))
        hidden = account("ida", Role.OPERATOR, is_active=False)
        self.assertFalse(roles.may_manage(granter=approver, user=hidden))

    def test_rights_that_were_lost_meanwhile_count_no_more(self) -> None:
        operator, ben = account("olga", Role.OPERATOR), account("ben", Role.VIEWER)
        self.assertTrue(operator.has_perm("auth.change_user"))  # remembered from here on
        roles.change_role(user=User.objects.get(pk=operator.pk), roles=[Role.VIEWER], by=ANN)
        wanted = replace(roles.rights_of(ben), groups=frozenset({"operator"}))
        self.assertIn("do not have", self.refused(ben, wanted, operator))

    def test_the_last_superuser_stays(self) -> None:
        rights = roles.rights_of(self.root)
        for lowered in (replace(rights, is_superuser=False), replace(rights, is_active=False)):
            self.assertIn("only active superuser", self.refused(self.root, lowered, self.root))
        User.objects.create_superuser("other")
        self.assertTrue(roles.change_rights(user=self.root, rights=replace(rights, is_superuser=False), by=ANN))

    def test_a_permission_that_there_is_not_is_an_error(self) -> None:
        with self.assertRaisesRegex(LookupError, "gateway_app.view_nothing"):
            wanted = replace(roles.rights_of(self.root), permissions=frozenset({"gateway_app.view_nothing"}))
            roles.change_rights(user=self.root, rights=wanted, by=ANN)


class ElsewhereTests(TestCase):
    def subjects(self) -> list[str]:
        return list(AuditEntry.objects.order_by("pk").values_list("subject", flat=True))

    def test_an_account_that_django_made_is_audited_once(self) -> None:
        call_command("createsuperuser", "--noinput", "--username", "eve", "--email", "")
        self.assertEqual([roles.note_elsewhere(), roles.note_elsewhere()], [1, 0])
        entry = AuditEntry.objects.get()
        assert entry.after
        self.assertEqual((entry.subject, entry.door, entry.before), ("eve", Door.SYSTEM, None))
        self.assertTrue(entry.after["superuser"])

    def test_rights_that_were_changed_in_a_shell_are_audited_with_what_they_were(self) -> None:
        user = User.objects.create_superuser("eve")
        roles.note_elsewhere()
        User.objects.update(is_superuser=False)
        roles.note_elsewhere()
        entry = AuditEntry.objects.latest("pk")
        assert entry.before and entry.after
        self.assertEqual((entry.before["superuser"], entry.after["superuser"]), (True, False))
        user.delete()
        roles.note_elsewhere()
        roles.note_elsewhere()
        entry = AuditEntry.objects.latest("pk")
        assert entry.after
        self.assertEqual((AuditEntry.objects.count(), entry.after["active"]), (3, False))

    def test_what_was_changed_by_the_gateway_itself_is_not_audited_again(self) -> None:
        roles.ensure_roles()
        user = account("ann")
        roles.note_elsewhere()
        roles.change_role(user=user, roles=[Role.VIEWER], by=ANN)
        self.assertEqual(roles.note_elsewhere(), 0)

    def test_people_who_only_chat_are_none_of_the_staff(self) -> None:
        User.objects.create_user("guest")
        self.assertEqual(roles.note_elsewhere(), 0)

    def test_nothing_is_locked_where_nothing_was_changed(self) -> None:
        account("ann")
        roles.note_elsewhere()
        with mock.patch.object(roles.audit, "open_ledger") as opened:
            roles.note_elsewhere()
        opened.assert_not_called()


class CommandTests(TestCase):
    def setUp(self) -> None:
        User.objects.create_superuser("root")
        self.user = User.objects.create_user("ben")

    def run_command(self, *arguments: str) -> str:
        output = io.StringIO()
        call_command("gateway", "role", *arguments, stdout=output)
        return output.getvalue()

    def test_a_role_is_given_shown_and_taken(self) -> None:
        self.assertEqual(self.run_command("ben", "approver", "--reason", "joins"), "ben: approver\n")
        self.assertEqual(self.run_command(), "ben: approver\nroot: superuser\n")
        self.assertEqual(self.run_command("ben", "approver"), "Nothing had to be changed. ben: approver\n")
        self.assertEqual(self.run_command("ben", "none"), "ben: no role\n")
        self.assertEqual(self.run_command("ben"), "ben: no role\n")
        found = AuditEntry.objects.values_list("action", "door", "reason")
        self.assertEqual(
            list(found.order_by("pk")),
            [("role_changed", "command_line", "joins"), ("role_changed", "command_line", "")],
        )

    def test_what_is_not_there_is_said_with_what_is(self) -> None:
        with self.assertRaisesRegex(CommandError, "no user 'bob'; there are: ben, root"):
            self.run_command("bob", "viewer")
        with self.assertRaisesRegex(CommandError, "invalid choice: 'boss'"):
            self.run_command("ben", "boss")


class ConcurrencyTests(TransactionTestCase):
    def at_once(self, function: Any, *, count: int = 4) -> list[Any]:
        found: list[Any] = []
        start = threading.Barrier(count)

        def run() -> None:
            start.wait()
            try:
                found.append(function())
            except Exception as error:
                found.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=run) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def test_the_roles_can_be_made_many_times_at_once(self) -> None:
        self.assertEqual(self.at_once(roles.ensure_roles), [None] * 4)
        self.assertEqual(sorted(Group.objects.values_list("name", flat=True)), ["approver", "operator", "viewer"])
        for group in Group.objects.all():
            self.assertEqual(group.permissions.count(), len(roles.permissions_of(Role(group.name))))

    def test_of_many_that_give_the_same_role_at_once_one_writes_a_row(self) -> None:
        roles.ensure_roles()
        user = User.objects.create_user("ben")
        found = self.at_once(lambda: roles.change_role(user=User.objects.get(pk=user.pk), roles=["viewer"], by=ANN))
        self.assertEqual(sorted(found), [False, False, False, True])
        self.assertEqual(AuditEntry.objects.count(), 1)
