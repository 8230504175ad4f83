"""What honcho.json and the gateway's own configuration say together."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings

from honcho_app import configuration
from tests.configuration import configured

SERVER = "http://127.0.0.1:9"


class ConfigurationCase(SimpleTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)
        self.shared = self.home / "shared.json"
        self.enterContext(override_settings(HERMES_HOME=self.home))
        self.enterContext(configured(honcho={"shared_file": str(self.shared)}))

    def write(self, content: Any, *, path: Path | None = None) -> None:
        """Writes honcho.json, or another file in its place."""
        (path or self.home / "honcho.json").write_text(content if isinstance(content, str) else json.dumps(content))

    def refused(self, content: Any, *words: str) -> str:
        self.write(content)
        with self.assertRaises(ImproperlyConfigured) as caught:
            configuration.load()
        for word in words:
            self.assertIn(word, str(caught.exception))
        return str(caught.exception)


class LoadTests(ConfigurationCase):
    def test_without_a_word_about_honcho_it_is_off(self) -> None:
        self.assertFalse(configuration.load().is_active)

    def test_a_server_in_the_environment_turns_it_on(self) -> None:
        with configured(honcho={"base_url": SERVER}):
            config = configuration.load()
        self.assertTrue(config.is_active)
        self.assertEqual(config.address, SERVER)

    def test_the_host_comes_before_the_file_and_the_file_before_the_environment(self) -> None:
        self.write({"workspace": "root", "aiPeer": "root", "hosts": {"hermes": {"workspace": "host"}}})
        with configured(honcho={"base_url": SERVER, "workspace": "env", "api_key": "secret"}):
            config = configuration.load()
        self.assertEqual((config.workspace, config.ai_peer, config.base_url), ("host", "root", SERVER))
        self.assertEqual(config.api_key.get_secret_value(), "secret")

    def test_another_host_has_a_block_of_its_own(self) -> None:
        self.write({"hosts": {"hermes": {"workspace": "one"}, "work": {"workspace": "two"}}})
        with configured(honcho={"host": "work"}):
            self.assertEqual(configuration.load().workspace, "two")

    def test_the_file_that_tools_share_counts_where_there_is_no_own(self) -> None:
        self.write({"baseUrl": SERVER, "workspace": "shared", "sessions": {}}, path=self.shared)
        self.assertEqual(configuration.load().workspace, "shared")
        self.write({"workspace": "own"})
        self.assertEqual(configuration.load().workspace, "own")

    def test_honchos_own_servers_are_only_asked_where_the_file_says_so(self) -> None:
        with configured(honcho={"api_key": "secret"}), self.assertLogs("honcho_app", "WARNING") as logs:
            configuration._Live().start()
            self.assertFalse(configuration.load().is_active)
        self.assertIn("no server", logs.output[0])
        self.assertNotIn("secret", logs.output[0])
        self.write({"environment": "production", "apiKey": "secret"})
        self.assertEqual(configuration.load().address, "https://api.honcho.dev")

    def test_it_can_be_switched_off(self) -> None:
        self.write({"enabled": False, "baseUrl": SERVER})
        self.assertFalse(configuration.load().is_active)

    def test_switched_on_without_a_server_it_stops_the_start(self) -> None:
        self.refused({"enabled": True}, "baseUrl is ''", "allowed: a URL", "honcho.json")

    def test_older_words_are_understood(self) -> None:
        self.write({"recallMode": "auto", "pinPeerName": True, "peerName": "anna", "writeFrequency": "5"})
        config = configuration.load()
        self.assertEqual(
            (config.recall_mode, config.pin_user_peer, config.peer_name, config.write_frequency),
            ("hybrid", True, "anna", 5),
        )

    def test_each_wrong_value_is_named_with_what_is_allowed(self) -> None:
        self.refused(
            {"recallMode": "always", "workspace": "a/b"}, "recallMode is 'always'", "workspace is 'a/b'", "letters"
        )
        self.refused({"writeFrequency": 0}, "writeFrequency is 0", "async, turn, session, or a number")
        self.refused({"userPeerAliases": {"5": "../x"}}, "userPeerAliases", "1 to 100 letters")
        self.refused({"hosts": {"hermes": []}}, "hosts.hermes is a list", "a mapping")
        self.refused({"observation": {"user": {"observeMe": "perhaps"}}}, "observation.user.observeMe")
        self.refused("{", "line 1")

    def test_no_error_repeats_a_key_or_an_address(self) -> None:
        message = self.refused({"apiKey": ["s3cret"], "baseUrl": "ftp://u:s3cret@host"}, "apiKey", "baseUrl")
        self.assertNotIn("s3cret", message)

    def test_a_key_is_not_part_of_what_is_shown_of_it(self) -> None:
        self.write({"baseUrl": SERVER, "apiKey": "s3cret"})
        self.assertNotIn("s3cret", repr(configuration.load()))

    def test_a_file_that_everybody_may_write_to_is_refused(self) -> None:
        self.write({})
        (self.home / "honcho.json").chmod(0o666)
        with self.assertRaisesRegex(ImproperlyConfigured, "written by everybody"):
            configuration.load()

    def test_keys_without_effect_are_said_once_at_the_start(self) -> None:
        self.write({"sessionStrategy": "per-repo", "hosts": {}})
        with self.assertLogs("honcho_app", "WARNING") as logs:
            configuration._Live().start()
        self.assertIn("sessionStrategy", logs.output[0])


class LiveTests(ConfigurationCase):
    def setUp(self) -> None:
        super().setUp()
        logger = logging.getLogger("honcho_app.configuration")
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)
        self.write({"baseUrl": SERVER, "workspace": "one"})
        self.live = configuration._Live()
        self.before = self.live.config()

    def look(self) -> configuration.HonchoConfig:
        self.live._next_check = 0.0
        return self.live.config()

    def test_a_changed_file_is_another_configuration(self) -> None:
        self.write({"baseUrl": SERVER, "workspace": "two-2"})
        self.assertEqual(self.look().workspace, "two-2")

    def test_the_object_stays_where_nothing_changed(self) -> None:
        self.write({"baseUrl": SERVER, "workspace": "one"})
        os.utime(self.home / "honcho.json", (time.time() + 5, time.time() + 5))
        self.assertIs(self.look(), self.before)

    def test_a_file_that_cannot_be_used_changes_nothing(self) -> None:
        self.write({"baseUrl": SERVER, "workspace": "no good"})
        self.assertIs(self.look(), self.before)

    def test_the_gateways_own_configuration_is_taken_up_at_once(self) -> None:
        self.write({})
        with configured(honcho={"base_url": "http://127.0.0.1:10"}):
            self.assertEqual(self.live.config().base_url, "http://127.0.0.1:10")
