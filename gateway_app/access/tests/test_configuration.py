"""The configuration's share of the audit: each setting that changed, once, whoever looks and however often."""

from __future__ import annotations

import functools
from typing import Any

from django.conf import settings
from django.test import TransactionTestCase

from gateway_app.access import configuration
from gateway_app.access.audit import verify
from gateway_app.config.schema import Config
from gateway_app.models import AuditEntry
from gateway_app.models.audit import AuditAction, Door
from tests.test_lanes import at_once


def config(**access: Any) -> Config:
    found: Config = settings.CONFIG.changed(access=access)
    given = {"GATEWAY_ALLOWED_USERS": "environment GATEWAY_ALLOWED_USERS"} if "allowed_users" in access else {}
    return found.changed(origins=given)


def rows() -> list[tuple[str, Any, Any]]:
    found = AuditEntry.objects.order_by("pk").values_list("subject", "before", "after")
    return [(subject, before["value"], after["value"]) for subject, before, after in found]


class NoteTests(TransactionTestCase):
    def test_the_first_look_notes_what_somebody_has_given(self) -> None:
        configuration.note(config(allowed_users=("7",)), host="a")
        self.assertEqual(rows(), [("GATEWAY_ALLOWED_USERS", None, ["7"])])
        entry = AuditEntry.objects.get()
        self.assertEqual((entry.action, entry.door), (AuditAction.CONFIGURATION_CHANGED, Door.CONFIGURATION))
        self.assertEqual((entry.actor, entry.reason), ("configuration of a", "environment GATEWAY_ALLOWED_USERS"))

    def test_an_allow_all_that_is_switched_on_and_off_is_two_rows(self) -> None:
        for is_on in (False, True, True, False):
            configuration.note(config(platforms={"telegram": {"allow_all_users": is_on}}), host="a")
        name = "TELEGRAM_ALLOW_ALL_USERS"
        self.assertEqual(rows(), [(name, False, True), (name, True, False)])

    def test_each_setting_that_changed_has_a_row(self) -> None:
        configuration.note(config(), host="a")
        changed = config(
            allow_all_users=True, platforms={"telegram": {"group_policy": "disabled", "allowed_users": ("7",)}}
        )
        self.assertEqual(configuration.note(changed, host="a"), 3)
        self.assertEqual(
            {row[0] for row in rows()},
            {"GATEWAY_ALLOW_ALL_USERS", "TELEGRAM_GROUP_POLICY", "TELEGRAM_ALLOWED_USERS"},
        )

    def test_another_host_that_says_the_same_is_no_change(self) -> None:
        for host in ("a", "b", "c"):
            configuration.note(config(allow_all_users=True), host=host)
        self.assertEqual(rows(), [])
        configuration.note(config(), host="b")
        self.assertEqual(rows(), [("GATEWAY_ALLOW_ALL_USERS", True, False)])

    def test_hosts_that_are_configured_apart_do_not_write_rows_for_ever(self) -> None:
        for _ in range(5):
            configuration.note(config(allow_all_users=True), host="a")
            configuration.note(config(), host="b")
        self.assertEqual(rows(), [("GATEWAY_ALLOW_ALL_USERS", True, False)])

    def test_many_who_look_at_once_write_one_row(self) -> None:
        configuration.note(config(), host="a")
        at_once(*[functools.partial(configuration.note, config(allow_all_users=True), host="a")] * 8)
        self.assertEqual(len(rows()), 1)
        self.assertEqual(verify().faults, [])

    def test_the_hosts_that_are_kept_in_mind_are_bounded(self) -> None:
        for number in range(configuration.HOSTS + 5):
            configuration.note(config(), host=f"host-{number}")
        self.assertEqual(len(configuration._known()), configuration.HOSTS)
