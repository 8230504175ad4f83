from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase
from hermes_site.environment import Environment, generated_secret, load_dotenv

from tests.processes import ROOT


def env(**variables: str) -> Environment:
    return Environment(variables)


class EnvironmentTest(SimpleTestCase):
    def refused(self, read: Callable[[Environment], Any], value: str, *words: str) -> None:
        """`value` is refused with an error that names the setting and contains `words`."""
        with self.subTest(value=value), self.assertRaises(ImproperlyConfigured) as caught:
            read(env(X=value))
        for word in ("X is ", "allowed: ", *words):
            self.assertIn(word, str(caught.exception))

    def test_what_is_empty_or_missing_is_the_default(self) -> None:
        for found in (env(), env(X=""), env(X="  ")):
            self.assertEqual(found.text("X", "a"), "a")
            self.assertIs(found.boolean("X", default=True), True)
            self.assertEqual(found.number("X", default=1.5), 1.5)
            self.assertEqual(found.whole("X", default=7), 7)
            self.assertEqual(found.words("X"), [])
            self.assertEqual(found.url("X", schemes=("http",), default="http://a"), "http://a")
            self.assertEqual(found.bind("X", default="127.0.0.1:80"), ("127.0.0.1", 80))

    def test_words_for_yes_and_no(self) -> None:
        for word in ("true", "True", " 1 ", "YES", "on"):
            self.assertIs(env(X=word).boolean("X", default=False), True)
        for word in ("false", "0", "No", "OFF"):
            self.assertIs(env(X=word).boolean("X", default=True), False)
        for word in ("2", "ja", "truee"):
            self.refused(
                lambda env: env.boolean("X", default=True), word, word, "true, 1, yes, on, false, 0, no or off"
            )

    def test_numbers_have_limits(self) -> None:
        self.assertEqual(env(X="2.5").number("X", default=1, least=1, most=3), 2.5)
        for word in ("0.9", "3.1", "nan", "inf", "-inf", "1e999", "x", "0x10"):
            read = lambda env: env.number("X", default=1, least=1, most=3)  # noqa: E731
            self.refused(read, word, word, "a number of at least 1 and at most 3")

    def test_whole_numbers_have_no_fraction(self) -> None:
        self.assertEqual(env(X="12").whole("X", default=1), 12)
        self.refused(lambda env: env.whole("X", default=1), "1.5", "1.5", "a whole number")
        self.refused(lambda env: env.whole("X", default=1), "inf", "a number of at least 0")

    def test_lists_drop_blanks(self) -> None:
        self.assertEqual(env(X=" a, ,b c,,").words("X"), ["a", "b c"])

    def test_urls_lose_their_trailing_slash(self) -> None:
        self.assertEqual(env(X="http://a:1/v1/").url("X", schemes=("http", "https")), "http://a:1/v1")

    def test_a_url_that_is_refused_is_not_repeated_since_it_may_hold_a_password(self) -> None:
        for url in (
            "ftp://u:geheim@host/",
            "geheim",
            "http:geheim",
            "http://",
            "http:///",
            "http://u:geheim@host:port/",
            "http://u:geheim@host:99999",
            "http://[geheim/",
        ):
            self.refused(lambda env: env.url("X", schemes=("http", "https")), url, "http://, https://")
            with self.assertRaises(ImproperlyConfigured) as caught:
                env(X=url).url("X", schemes=("http", "https"))
            self.assertNotIn("geheim", str(caught.exception))

    def test_databases(self) -> None:
        found = env(X="postgres://u:p%40ss@h:5433/name").database("X", default="")
        self.assertEqual(found["ENGINE"], "django.db.backends.postgresql")
        self.assertEqual(
            [found[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")], ["u", "p@ss", "h", 5433, "name"]
        )
        self.assertEqual(env(X="sqlite:////a/b%2Bc.db").database("X", default="")["NAME"], "/a/b+c.db")
        for url in (
            "mysql://u:geheim@h/x",
            "postgres://u:geheim@h",
            "postgres://u:geheim@h/",
            "postgres://u:geheim@h:x/n",
        ):
            self.refused(lambda env: env.database("X", default=""), url, "postgres://")
            with self.assertRaises(ImproperlyConfigured) as caught:
                env(X=url).database("X", default="")
            self.assertNotIn("geheim", str(caught.exception))

    def test_addresses_to_listen_on(self) -> None:
        self.assertEqual(env(X="0.0.0.0:80").bind("X", default=""), ("0.0.0.0", 80))
        self.assertEqual(env(X="[::1]:8000").bind("X", default=""), ("::1", 8000))
        for word in ("8000", ":8000", "host", "host:", "host:0", "host:65536", "host:-1", "host:²"):
            self.refused(lambda env: env.bind("X", default=""), word, word, "host:port")


class DotenvTest(SimpleTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / ".env"
        self.enterContext(mock.patch.dict(os.environ, {"SET": "before"}, clear=True))

    def test_lines_are_added_and_what_is_set_wins(self) -> None:
        self.path.write_text("# a comment\n\nA=1\nexport B='two words'\nSET=after\n", encoding="utf-8")
        load_dotenv(self.path)
        self.assertEqual(dict(os.environ), {"A": "1", "B": "two words", "SET": "before"})

    def test_without_a_file_nothing_happens(self) -> None:
        load_dotenv(self.path)
        self.assertEqual(dict(os.environ), {"SET": "before"})

    def test_a_line_that_is_no_setting_is_named_by_its_number_and_not_repeated(self) -> None:
        self.path.write_text("A=1\nOPENAI_API_KEY: geheim\n")
        with self.assertRaisesRegex(ImproperlyConfigured, r"\.env, line 2") as caught:
            load_dotenv(self.path)
        self.assertNotIn("geheim", str(caught.exception))

    def test_a_file_that_cannot_be_read_is_an_error(self) -> None:
        self.path.write_bytes(b"A=\xff\n")
        with self.assertRaisesRegex(ImproperlyConfigured, "not UTF-8"):
            load_dotenv(self.path)
        self.path.unlink()
        self.path.mkdir()
        with self.assertRaisesRegex(ImproperlyConfigured, "Is a directory"):
            load_dotenv(self.path)


class GeneratedSecretTest(SimpleTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "state"

    def test_it_is_kept_for_the_owner_alone(self) -> None:
        secret = generated_secret(self.folder, "key")
        self.assertGreaterEqual(len(secret), 50)
        self.assertEqual(generated_secret(self.folder, "key"), secret)
        self.assertNotEqual(generated_secret(self.folder, "other"), secret)
        self.assertEqual((self.folder / "key.secret").stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)

    def test_two_that_start_at_once_agree(self) -> None:
        barrier = threading.Barrier(8)
        found: list[str] = []

        def make() -> None:
            barrier.wait()
            found.append(generated_secret(self.folder, "key"))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(found), 8)
        self.assertEqual(len(set(found)), 1)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["key.secret"])

    def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_setting(self) -> None:
        self.folder.write_text("a file")
        with self.assertRaisesRegex(ImproperlyConfigured, "HERMES_HOME: .*; allowed: a folder this user can write to"):
            generated_secret(self.folder, "key")

    def test_an_empty_secret_is_never_used(self) -> None:
        self.folder.mkdir()
        (self.folder / "key.secret").touch()
        with self.assertRaisesRegex(ImproperlyConfigured, "is empty; remove it"):
            generated_secret(self.folder, "key")


class StartTest(SimpleTestCase):
    def test_a_wrong_setting_stops_every_command_with_one_line_and_without_a_traceback(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            for name, value in (
                ("HERMES_WORKERS", "many"),
                ("DATABASE_URL", "mysql://h/x"),
                ("REDIS_URL", "http://h"),
                ("HERMES_BIND", "8000"),
                ("GATEWAY_ALLOW_ALL_USERS", "perhaps"),
                ("HERMES_LOG_LEVEL", "LOUD"),
            ):
                with self.subTest(name=name):
                    done = subprocess.run(
                        [sys.executable, "manage.py", "up"],
                        cwd=ROOT,
                        env={"PATH": os.environ["PATH"], "HERMES_HOME": home, name: value},
                        capture_output=True,
                        text=True,
                    )
                    self.assertEqual((done.returncode, done.stdout), (1, ""))
                    self.assertRegex(done.stderr, rf"\Amanage\.py: {name} is '.*; allowed: .*\n\Z")
