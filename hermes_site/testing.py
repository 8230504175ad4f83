"""The test runner behind `manage.py test`: file databases that other processes can share, and a closing total."""

from __future__ import annotations

import logging
import traceback
import unittest
from pathlib import Path
from typing import Any

import hypothesis
from django.conf import settings
from django.db import connections
from django.test.runner import DiscoverRunner, ParallelTestSuite, RemoteTestResult, RemoteTestRunner

from gateway_app.worker.database import close_database_threads
from hermes_site import audit_in_tests, emptying

# How long an example takes says nothing on a machine that others share. Tests take this over when they are imported.
hypothesis.settings.register_profile("gateway", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("gateway")


class PortableResult(RemoteTestResult):
    """Sends failures to the parent process as text.

    Django sends the exceptions themselves, so that one which cannot be pickled ends the whole run.
    """

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, as_text(err))

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, as_text(err))

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            super().addFailure(test, as_text(err, heading=str(subtest)))


class PortableRunner(RemoteTestRunner):
    resultclass = PortableResult


class PortableTests(unittest.TestSuite):
    """Tests of one class on their way to a parallel process, which makes them anew: the objects themselves
    cannot all be sent (an `IsolatedAsyncioTestCase` cannot)."""

    def __reduce__(self) -> tuple[Any, ...]:
        return PortableTests._made_anew, ([_recipe(test) for test in self],)

    @staticmethod
    def _made_anew(recipes: list[tuple[type[unittest.TestCase], tuple[Any, ...]]]) -> PortableTests:
        return PortableTests([test_class(*arguments) for test_class, arguments in recipes])


class PortableSuite(ParallelTestSuite):
    runner_class = PortableRunner

    def __init__(self, subsuites: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            [PortableTests(tests) for tests in spread([list(suite) for suite in subsuites])], *args, **kwargs
        )


def spread(classes: list[list[Any]]) -> list[list[Any]]:
    """The tests of classes in the order in which processes take them up.

    Those that are long start fleets: one at a time, with short ones beside them, and none in the end, where the others
    would wait for it.
    """
    long = [tests for tests in classes if getattr(tests[0], "is_long", False)]
    short = [tests for tests in classes if not getattr(tests[0], "is_long", False)]
    between = len(short) * 4 // 5 // max(len(long), 1)
    ordered: list[list[Any]] = []
    for tests in long:
        ordered += [tests, *short[:between]]
        short = short[between:]
    return ordered + short


class TestRunner(DiscoverRunner):
    """Django's runner with four differences.

    SQLite's test databases are files, so that processes started by a test can open the same one.
    Passwords are hashed cheaply. Failures of parallel tests always reach the report.
    The last line of the output reads `N passed, N failed, N skipped`.
    """

    parallel_test_suite = PortableSuite
    closing_line = ""

    def setup_test_environment(self, **kwargs: Any) -> None:
        super().setup_test_environment(**kwargs)
        prepare_environment()

    def setup_databases(self, **kwargs: Any) -> Any:
        """Creates the test databases, then a clone for each parallel process.

        SQLite clones by copying the file, which is complete only once the write-ahead log is folded into it.
        """
        use_files()
        parallel, self.parallel = self.parallel, 0
        old_names = super().setup_databases(**kwargs)
        self.parallel = parallel
        for connection in connections.all():
            if connection.vendor == "sqlite":
                with connection.cursor() as cursor:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for process in range(1, parallel + 1) if parallel > 1 else ():
                connection.creation.clone_test_db(suffix=str(process), verbosity=self.verbosity, keepdb=self.keepdb)
        return old_names

    def teardown_databases(self, old_config: Any, **kwargs: Any) -> None:
        """Removes the test databases, which PostgreSQL refuses while anyone is connected."""
        close_database_threads()
        super().teardown_databases(old_config, **kwargs)

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        self.closing_line = closing_line(result)
        return super().suite_result(suite, result, **kwargs)

    def run_tests(self, test_labels: list[str], **kwargs: Any) -> int:
        failures = super().run_tests(test_labels, **kwargs)
        print(self.closing_line, flush=True)  # noqa: T201
        return failures


def prepare_environment() -> None:
    """What every process that runs tests needs beside Django's own test environment."""
    audit_in_tests.install()
    emptying.install()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # unittest runs coroutine tests in asyncio's debug mode, which warns of every step that takes 0.1 s.
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def use_files() -> None:
    """Makes SQLite's test databases files, so that processes started by a test can open the same one."""
    for connection in connections.all():
        if connection.vendor == "sqlite":
            connection.settings_dict["TEST"]["NAME"] = str(Path(settings.STATE_DIR) / "test.sqlite3")


def _recipe(test: Any) -> tuple[type[unittest.TestCase], tuple[Any, ...]]:
    # A module that cannot be imported is a test too, which raises the error it was made with.
    error = (AssertionError(str(test._exception)),) if hasattr(test, "_exception") else ()
    return type(test), (test._testMethodName, *error)


def as_text(err: Any, *, heading: str = "") -> tuple[type[AssertionError], AssertionError, None]:
    text = "".join(traceback.format_exception(*err))
    return AssertionError, AssertionError("\n".join(["", heading, text] if heading else ["", text])), None


def closing_line(result: unittest.TestResult) -> str:
    """`N passed, N failed, N skipped`; a test that fails in several subtests counts once."""
    broken = [getattr(test, "test_case", test) for test, _ in [*result.failures, *result.errors]]
    broken += result.unexpectedSuccesses
    failed = len({str(test) for test in broken})
    # A set-up of a class or module that fails is an error without a test that ran.
    ran_and_failed = len({str(test) for test in broken if isinstance(test, unittest.TestCase)})
    skipped = len({str(getattr(test, "test_case", test)) for test, _ in result.skipped})
    passed = max(0, result.testsRun - ran_and_failed - skipped)
    return f"{passed} passed, {failed} failed, {skipped} skipped"
