"""An installation's folder for a test, and the configuration that it gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from gateway_app.config import files, loading, sources
from gateway_app.config.schema import Config


class ConfigCase(SimpleTestCase):
    maxDiff = None

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)
        self.dotenv, self.yaml, self.json = (self.home / name for name in files.NAMES)

    def load(self, **environment: str) -> Config:
        """The configuration of this folder's files and of `environment`."""
        return loading.build(sources.read(home=self.home, environment={"HERMES_SECRET_KEY": "x", **environment}))

    def refused(self, *words: str, **environment: str) -> str:
        """The error that stops the start; `words` are in it."""
        with self.assertRaises(ImproperlyConfigured) as caught:
            self.load(**environment)
        message = str(caught.exception)
        for word in words:
            self.assertIn(word, message)
        return message
