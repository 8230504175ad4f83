from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from django.test import SimpleTestCase

from tests.dear import dear
from tests.processes import ROOT

SUITE = """
import subprocess, sys, tempfile
from pathlib import Path
from unittest import IsolatedAsyncioTestCase, expectedFailure
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from tests.processes import ROOT, child_environment


class Odd(Exception):
    def __init__(self, text, *, other):
        super().__init__(text)


class FirstTest(TestCase):
    def test_passes(self):
        User.objects.create_user("a", password="b")
        self.assertIn("md5", User.objects.get().password)

    def test_raises_what_cannot_be_pickled(self):
        raise Odd("odd one", other=1)

    def test_fails_in_two_subtests(self):
        self.stream = (number for number in ())  # nor can this
        for number in range(3):
            with self.subTest(number=number):
                self.assertEqual(number, 1)

    def test_is_skipped(self):
        self.skipTest("because")

    @expectedFailure
    def test_is_expected_to_fail(self):
        self.fail("expected")


class AsyncTest(IsolatedAsyncioTestCase):
    async def test_passes(self):
        pass


class SetUpTest(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        raise ValueError("no")

    def test_never_runs(self):
        pass


class SettingsTest(SimpleTestCase):
    def test_nothing_of_the_person_s_own_settings_is_left(self):
        self.assertEqual(settings.OPENAI_API_KEY, "")
        self.assertEqual(settings.TELEGRAM_BOT_TOKEN, "")
        self.assertEqual(settings.REDIS_URL, "redis://127.0.0.1:1/0")
        self.assertTrue(str(settings.HERMES_HOME).startswith(tempfile.gettempdir()))


class %(name)sProcessTest(TransactionTestCase):
    def test_another_process_sees_the_same_database(self):
        User.objects.create_user("here")
        say = "from django.contrib.auth.models import User; print(*User.objects.values_list('username', flat=True));"
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v0", "-c", say + "User.objects.create_user('there')"],
            cwd=ROOT, env=child_environment(self), capture_output=True, text=True,
        )
        self.assertEqual(done.stdout, "here\\n", done.stderr)
        self.assertEqual(User.objects.count(), 2)
        Path(%(folder)r, "database-" + Path(connection.settings_dict["NAME"]).name).touch()
"""


@dear
class RunnerTest(SimpleTestCase):
    def test_a_parallel_run_reports_all_shares_its_databases_and_leaves_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "home").mkdir()
            (folder / "tmp").mkdir()
            for number in (1, 2):
                suite = (
                    SUITE if number == 1 else SUITE[: SUITE.index("class Odd")] + SUITE[SUITE.index("class %(name)s") :]
                )
                (folder / f"test_suite_{number}.py").write_text(suite % {"name": f"N{number}", "folder": name})
            (folder / "test_broken.py").write_text("import nothing_of_this_name")
            done = subprocess.run(
                [sys.executable, "manage.py", "test", name, "--parallel", "2", "--shuffle"],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(folder / "home"),
                    "TMPDIR": str(folder / "tmp"),
                    "OPENAI_API_KEY": "sk-own",
                    "TELEGRAM_BOT_TOKEN": "own",
                    "REDIS_URL": "redis://own",
                },
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 1)
            report = done.stdout + done.stderr
            # Passed: one plain, one expected failure, one async, one on settings, two with processes.
            self.assertEqual(done.stdout.splitlines()[-1], "6 passed, 4 failed, 1 skipped", report)
            for words in ("odd one", "0 != 1", "2 != 1", "(number=2)", "ValueError: no", "nothing_of_this_name"):
                self.assertIn(words, done.stderr)
            self.assertTrue(
                {path.name for path in folder.glob("database-*")}
                <= {"database-test_1.sqlite3", "database-test_2.sqlite3"}
            )
            self.assertEqual(list((folder / "home").iterdir()), [])
            self.assertEqual(list((folder / "tmp").iterdir()), [])
