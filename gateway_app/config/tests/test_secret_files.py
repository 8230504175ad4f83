from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from gateway_app.config.secret_files import generated_secret


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
