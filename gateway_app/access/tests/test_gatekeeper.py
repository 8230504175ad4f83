"""The decisions of a process: kept, and given up when anything changes anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from django.db import OperationalError, connection, transaction
from django.test import TransactionTestCase, override_settings

from gateway_app import clock
from gateway_app.access import gatekeeper as module
from gateway_app.access import rules
from gateway_app.access.audit import Actor
from gateway_app.access.gatekeeper import Gatekeeper
from gateway_app.models import AccessRule, AccessState
from gateway_app.models.access import SubjectKind
from gateway_app.models.audit import Door
from gateway_app.sessions.source import ChatType, SessionSource
from tests.configuration import configured
from tests.processes import child_environment

ROOT = Path(__file__).resolve().parents[3]
BY = Actor("operator", Door.COMMAND_LINE)
PROMISED_SECONDS = 2.0

WATCHING = """
import sys, time
import django
django.setup()
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.sessions.source import ChatType, SessionSource
source = SessionSource(platform="telegram", chat_id="7", chat_type=ChatType.DM, user_id="7")
last = None
end = time.monotonic() + 60
while time.monotonic() < end:
    found = gatekeeper.decide(source).is_allowed
    if found != last:
        print("allowed" if found else "denied", time.time(), flush=True)
        last = found
    time.sleep(0.01)
"""


def source(user_id: str = "7", **values: Any) -> SessionSource:
    values = {"chat_id": user_id, "chat_type": ChatType.DM} | values
    return SessionSource(platform="telegram", user_id=user_id, **values)


class GatekeeperTests(TransactionTestCase):
    def setUp(self) -> None:
        self.keeper = Gatekeeper()

    def is_allowed(self, user_id: str = "7") -> bool:
        return self.keeper.decide(source(user_id)).is_allowed

    @override_settings(ACCESS_CHECK_SECONDS=60)
    def test_a_decision_costs_no_statement_until_it_is_time_to_look_again(self) -> None:
        self.is_allowed()
        with self.assertNumQueries(0):
            for number in range(100):
                self.is_allowed(str(number))

    def test_a_look_is_one_statement_where_nothing_changed(self) -> None:
        rules.allow(platform="telegram", subject_id="7", by=BY)
        self.is_allowed()
        with self.assertNumQueries(1):
            self.assertTrue(self.is_allowed())

    def test_only_rows_that_changed_are_read_again(self) -> None:
        rules.allow(platform="telegram", subject_id="7", by=BY)
        self.is_allowed()
        AccessRule.objects.update(is_active=False)  # behind everybody's back: not a new version
        rules.allow(platform="telegram", subject_id="8", by=BY)
        self.assertTrue(self.is_allowed("8"))
        self.assertTrue(self.is_allowed("7"))

    def test_a_rule_that_was_taken_back_is_forgotten(self) -> None:
        put = rules.allow(platform="telegram", subject_id="7", by=BY)
        self.assertTrue(self.is_allowed())
        rules.remove(rule_id=put.rule.pk, by=BY)
        self.assertFalse(self.is_allowed())

    def test_a_database_that_was_put_back_from_a_copy_is_read_anew(self) -> None:
        for name in ("7", "8"):
            rules.allow(platform="telegram", subject_id=name, by=BY)
        self.assertTrue(self.is_allowed())
        AccessRule.objects.all().delete()
        AccessState.objects.update(version=1)
        self.assertFalse(self.is_allowed())

    def test_what_a_transaction_read_of_itself_and_rolled_back_is_forgotten(self) -> None:
        # Seen to let 7 in with the audit's count and hash left out of the stamp.
        for further in (1, 2):
            with self.subTest(further_changes=further):
                with self.assertRaisesRegex(RuntimeError, "late"), transaction.atomic():
                    rules.allow(platform="telegram", subject_id="7", by=BY)
                    self.assertTrue(self.is_allowed())
                    raise RuntimeError("late")
                for number in range(further):
                    rules.allow(platform="telegram", subject_id=f"{further}-{number}", by=BY)
                self.assertFalse(self.is_allowed())
                self.assertTrue(self.is_allowed(f"{further}-0"))

    def test_another_configuration_holds_at_once(self) -> None:
        self.assertFalse(self.is_allowed())
        with configured(access={"platforms": {"telegram": {"allowed_users": ("7",)}}}):
            self.assertTrue(self.is_allowed())
        self.assertFalse(self.is_allowed())

    @override_settings(ACCESS_CHECK_SECONDS=60)
    def test_what_this_process_changed_itself_holds_at_once(self) -> None:
        module.gatekeeper.forget()  # what an earlier test has left
        self.assertFalse(module.gatekeeper.decide(source()).is_allowed)
        rules.allow(platform="telegram", subject_id="7", by=BY)
        self.assertTrue(module.gatekeeper.decide(source()).is_allowed)

    def test_without_a_database_nothing_is_decided_on_old_facts(self) -> None:
        self.is_allowed()
        with (
            mock.patch.object(Gatekeeper, "_read_stamp", side_effect=OperationalError),
            self.assertRaises(OperationalError),
        ):
            self.is_allowed()

    def test_the_decisions_that_are_kept_are_bounded(self) -> None:
        with mock.patch.object(module, "REMEMBERED", 10), override_settings(ACCESS_CHECK_SECONDS=60):
            for number in range(100):
                self.is_allowed(str(number))
            self.assertLessEqual(len(self.keeper._view.decided), 10)

    def test_a_rule_ends_at_its_moment_without_another_look(self) -> None:
        rules.allow(platform="telegram", subject_id="7", by=BY)
        with connection.cursor() as cursor:  # a moment that is near, by the database's own clock
            near = "clock_timestamp() + interval '0.6 seconds'"
            if connection.vendor == "sqlite":
                near = "strftime('%Y-%m-%d %H:%M:%f', 'now', '0.6 seconds')"
            cursor.execute(f"UPDATE {AccessRule._meta.db_table} SET expires_at = {near}")
        with override_settings(ACCESS_CHECK_SECONDS=60):
            self.assertTrue(self.is_allowed())
            time.sleep(0.8)
            with self.assertNumQueries(0):
                self.assertFalse(self.is_allowed())

    def test_a_look_within_a_transaction_sees_its_rows_and_leaves_no_trace(self) -> None:
        # Seen to fail with the gatekeeper's own decide(): another change then gets the version that was rolled back.
        rules.allow(platform="telegram", subject_id="9", by=BY)
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            rules.allow(platform="telegram", subject_id="7", by=BY)
            self.assertTrue(module.decide_now(source(), at=clock.read()).is_allowed)
            _ = 1 / 0
        rules.allow(platform="telegram", subject_id="8", by=BY)
        self.assertEqual([self.keeper.decide(source(user)).is_allowed for user in "78"], [False, True])

    def test_a_look_within_a_transaction_decides_as_every_other(self) -> None:
        rules.allow(platform="telegram", subject_id="7", by=BY)
        rules.deny(platform="", subject_id="8", by=BY)
        rules.allow(platform="", subject_id="*", by=BY)
        rules.allow(platform="telegram", subject=SubjectKind.CHAT, subject_id="-100", by=BY)
        rules.deny(platform="telegram", subject=SubjectKind.CHAT, subject_id="-200", by=BY)
        for asked in (
            *(source(user) for user in ("7", "8", "9", "")),
            *(source("9", chat_id=chat, chat_type=ChatType.GROUP) for chat in ("-100", "-200", "-300")),
            source("9", user_id_alt="8"), replace(source("9"), platform="webchat"), source("9", is_bot=True),
        ):  # fmt: skip
            with self.subTest(asked=asked):
                self.assertEqual(module.decide_now(asked, at=clock.read()), self.keeper.decide(asked))


class OtherProcessTests(TransactionTestCase):
    def test_a_ban_holds_in_another_process_within_two_seconds(self) -> None:
        rules.allow(platform="telegram", subject_id="7", by=BY)
        environment = child_environment(self) | {"HERMES_ACCESS_CHECK_SECONDS": "1"}
        environment |= {"DJANGO_SETTINGS_MODULE": "hermes_site.settings", "PYTHONPATH": os.fspath(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-c", WATCHING], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        try:
            assert process.stdout
            self.assertEqual(process.stdout.readline().split()[0], "allowed")
            rules.deny(platform="telegram", subject_id="7", by=BY)
            changed = time.time()
            word, at = process.stdout.readline().split()
            self.assertEqual(word, "denied")
            self.assertLess(float(at) - changed, PROMISED_SECONDS)
        finally:
            process.kill()
            process.communicate()
