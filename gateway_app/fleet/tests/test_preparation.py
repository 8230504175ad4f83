"""`manage.py prepare`: what several machines need before their first start and after an upgrade."""

from __future__ import annotations

import subprocess
import sys

from django.contrib.auth.models import User
from django.test import TransactionTestCase
from django_celery_beat.models import PeriodicTask

from tests.processes import ROOT, child_environment


class PrepareTest(TransactionTestCase):
    def test_it_writes_the_schedule_and_names_the_administrator_once(self) -> None:
        environment = child_environment(self)
        first, second = (self.prepare(environment) for _ in range(2))
        self.assertRegex(first, r"User +admin\nPassword +\S{20}\nSign in +http://127\.0\.0\.1:\d+/sign-in/link\?token=")
        self.assertEqual(second, "The database and the static files are up to date.\n")
        self.assertEqual(User.objects.filter(is_superuser=True).count(), 1)
        self.assertTrue(PeriodicTask.objects.filter(task="gateway_app.tasks.sweep", enabled=True).exists())

    def test_a_database_that_cannot_be_used_is_an_error_of_one_line(self) -> None:
        environment = child_environment(self, DATABASE_URL="postgres://me:secret@127.0.0.1:1/none")
        with self.assertRaises(subprocess.CalledProcessError) as caught:
            self.prepare(environment)
        self.assertRegex(caught.exception.stderr, r"DATABASE_URL: the database cannot be used")
        self.assertNotIn("Traceback", caught.exception.stderr)
        self.assertNotIn("secret", caught.exception.stderr)

    def prepare(self, environment: dict[str, str]) -> str:
        return subprocess.run(
            [sys.executable, "manage.py", "prepare"],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True,
        ).stdout  # fmt: skip
