"""What a process takes up while it runs."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

from django.conf import settings
from django.test import override_settings

from gateway_app.config import live
from tests.configuration import configured

from .case import ConfigCase

LOG = "gateway_app.config.live"


class LiveCase(ConfigCase):
    """A process that has started with this folder's files; the environment has nothing of the gateway's."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.dict(os.environ, {"HERMES_SECRET_KEY": "x"}, clear=True))
        self.write(self.yaml, "telegram: {allow_from: [1]}\nlanes: {max_depth: 40}\n")
        self.start()

    def start(self) -> None:
        self.watch = live.Watch()
        self.enterContext(mock.patch.object(live, "_watch", self.watch))
        self.enterContext(override_settings(CONFIG=self.load(), LOG_LEVEL="INFO", TELEGRAM_REQUIRE_MENTION=True))
        logger = logging.getLogger(LOG)  # the tests' own level is ERROR
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.INFO)
        self.enterContext(mock.patch.object(logger, "propagate", False))
        self.enterContext(mock.patch.object(logger, "handlers", [logging.NullHandler()]))
        for name in live.LOGGERS:
            self.addCleanup(logging.getLogger(name).setLevel, logging.getLogger(name).level)

    def write(self, path: Path, text: str) -> None:
        """Writes a file as if that had been a while ago."""
        path.write_text(text)
        age(path)

    def look(self) -> tuple[bool, list[str]]:
        """Whether another configuration is in force after a look, and what was logged."""
        logger = logging.getLogger(LOG)
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
        logger.addHandler(handler)
        try:
            return live.reload_if_changed(), lines
        finally:
            logger.removeHandler(handler)

    @property
    def allowed(self) -> tuple[str, ...]:
        return live.config().access.platforms["telegram"].allow_from


class ChangeTests(LiveCase):
    def test_nothing_happens_where_nothing_has_changed(self) -> None:
        before = live.config()
        self.assertEqual(self.look(), (False, []))
        self.assertIs(live.config(), before)

    def test_a_list_is_taken_over_as_a_new_object_and_said(self) -> None:
        before = live.config()
        self.write(self.yaml, "telegram: {allow_from: [1, 2]}\nlanes: {max_depth: 40}\n")
        changed, lines = self.look()
        self.assertTrue(changed)
        self.assertIsNot(live.config(), before)
        self.assertEqual(
            lines, ["INFO Configuration changed: TELEGRAM_ALLOW_FROM: 1 → 1, 2 (config.yaml telegram.allow_from)"]
        )
        self.assertEqual((before.access.platforms["telegram"].allow_from, self.allowed), (("1",), ("1", "2")))
        self.assertEqual(self.look(), (False, []))

    def test_every_file_is_looked_at_and_one_that_is_gone_says_nothing_more(self) -> None:
        self.write(self.json, '{"limits": {"chat_burst": 5}}')
        self.look()
        self.write(self.dotenv, "TELEGRAM_ALLOW_FROM=7\n")
        self.look()
        self.assertEqual((live.config().limits.chat_burst, self.allowed), (5, ("7",)))
        self.assertEqual(live.config().origin("TELEGRAM_ALLOW_FROM"), ".env TELEGRAM_ALLOW_FROM")
        for path in (self.json, self.dotenv, self.yaml):
            path.unlink()
        age(self.home)
        changed, lines = self.look()
        self.assertTrue(changed)
        self.assertEqual((live.config().limits.chat_burst, self.allowed), (60, ()))
        self.assertIn("INFO Configuration changed: HERMES_LIMIT_CHAT_BURST: 5 → 60 (default)", lines)

    def test_what_is_not_live_waits_for_a_restart(self) -> None:
        self.write(self.yaml, "telegram: {allow_from: [1], token: '1:geheim'}\nlanes: {max_depth: 30}\n")
        changed, lines = self.look()
        self.assertFalse(changed)
        self.assertEqual(
            lines,
            [
                "WARNING HERMES_LANE_MAX_DEPTH changed; it takes effect at the next restart",
                "WARNING TELEGRAM_BOT_TOKEN changed; it takes effect at the next restart",
            ],
        )
        self.assertEqual((live.config().lanes.max_depth, live.config().origin("TELEGRAM_BOT_TOKEN")), (40, "default"))
        self.write(self.yaml, "telegram: {allow_from: [1, 2]}\nlanes: {max_depth: 40}\n# as it was\n")
        self.assertEqual([line[:4] for line in self.look()[1]], ["INFO"])

    def test_the_log_s_level_and_the_mentions_are_taken_over(self) -> None:
        self.write(self.yaml, "health: {log_level: debug}\ntelegram: {require_mention: off}\n")
        self.look()
        self.assertEqual((settings.LOG_LEVEL, settings.TELEGRAM_REQUIRE_MENTION), ("DEBUG", False))
        self.assertEqual([logging.getLogger(name).level for name in live.LOGGERS], [logging.DEBUG] * len(live.LOGGERS))

    def test_a_new_unknown_key_is_said_once(self) -> None:
        self.write(self.yaml, "telegram: {allow_from: [1]}\nlane: 1\n")
        self.assertEqual(len(self.look()[1]), 2)  # and max_depth
        self.write(self.yaml, "telegram: {allow_from: [1]}\nlane: 2\n")
        self.assertEqual(self.look(), (False, []))

    def test_the_environment_stays_stronger(self) -> None:
        with mock.patch.dict(os.environ, {"TELEGRAM_ALLOW_FROM": "9"}), override_settings(CONFIG=None):
            settings.CONFIG = self.load(TELEGRAM_ALLOW_FROM="9")
            self.write(self.yaml, "telegram: {allow_from: [1, 2]}\nlanes: {max_depth: 40}\n")
            self.assertEqual(self.look(), (False, []))
            self.assertEqual(self.allowed, ("9",))


class BadFileTests(LiveCase):
    def test_a_file_that_cannot_be_used_changes_nothing_and_is_said_once(self) -> None:
        before = live.config()
        for text, words in (
            ("telegram: {allow_from: [1, geheim", "line 2: did not find expected"),
            ("telegram: {allow_from: [1, 2], dm_policy: maybe}\n", "TELEGRAM_DM_POLICY is 'maybe'; allowed: "),
            ("telegram: {allow_from: [2], dm_policy: open}\n", "TELEGRAM_DM_POLICY is 'open'"),
        ):
            self.write(self.yaml, text)
            changed, lines = self.look()
            self.assertFalse(changed)
            self.assertEqual(len(lines), 1)
            self.assertRegex(
                lines[0], "^ERROR The configuration has changed and cannot be used; the one in force stays"
            )
            self.assertIn(words, lines[0])
            self.assertIn("config.yaml", lines[0])
            self.assertNotIn("geheim", lines[0])
            self.assertEqual(self.look(), (False, []))
            self.assertIs(live.config(), before)
        self.write(self.yaml, "telegram: {allow_from: [3]}\nlanes: {max_depth: 40}\n")
        self.assertTrue(self.look()[0])
        self.assertEqual(self.allowed, ("3",))

    def test_nor_does_one_that_others_could_have_written(self) -> None:
        self.write(self.yaml, "allow_all_users: true\n")
        self.yaml.chmod(0o666)
        changed, lines = self.look()
        self.assertFalse(changed)
        self.assertIn("can be written by everybody", lines[0])
        self.yaml.chmod(0o600)
        self.write(self.yaml, "allow_all_users: true\n# mine\n")
        self.assertTrue(self.look()[0])

    def test_nor_does_a_folder_or_a_file_that_is_no_text(self) -> None:
        self.write(self.json, "")
        self.json.write_bytes(b"\xff\xfe\x00")
        age(self.json)
        self.assertIn("not UTF-8", self.look()[1][0])
        self.yaml.unlink()
        self.yaml.mkdir()
        age(self.yaml)
        self.assertIn("config.yaml cannot be read: Is a directory", self.look()[1][0])
        self.assertEqual(self.allowed, ("1",))

    def test_a_file_that_is_still_being_written_is_looked_at_again_later(self) -> None:
        self.yaml.write_text("telegram: {allow_from: []}\n")
        self.assertEqual(self.look(), (False, []))
        self.assertEqual(self.allowed, ("1",))
        age(self.yaml)
        self.assertTrue(self.look()[0])

    def test_one_that_changes_while_it_is_read_is_read_again(self) -> None:
        self.write(self.yaml, "telegram: {allow_from: []}\n")
        read = live.loading.reread

        def slowly(**words: Any) -> Any:
            found = read(**words)
            self.write(self.yaml, "telegram: {allow_from: [5]}\n")
            return found

        with mock.patch.object(live.loading, "reread", slowly):
            self.assertEqual(self.look(), (False, []))
        self.assertTrue(self.look()[0])
        self.assertEqual(self.allowed, ("5",))

    def test_it_never_raises(self) -> None:
        self.write(self.yaml, "telegram: {allow_from: []}\n")
        with mock.patch.object(live.loading, "reread", side_effect=RuntimeError("no")):
            self.assertIn("could not be looked at", self.look()[1][0])
        self.assertTrue(self.look()[0])


class ClockTests(LiveCase):
    def test_whoever_asks_has_the_files_looked_at_once_a_second_at_most(self) -> None:
        with mock.patch.object(live.files, "stamps", wraps=live.files.stamps) as looks:
            for _ in range(100):
                live.config()
            self.assertEqual(looks.call_count, 1)
            self.watch.next_check -= live.CHECK_SECONDS
            live.config()
            self.assertEqual(looks.call_count, 2)

    def test_it_is_taken_up_by_asking_alone(self) -> None:
        live.config()
        self.write(self.yaml, "telegram: {allow_from: [4]}\n")
        self.assertEqual(self.allowed, ("1",))
        self.watch.next_check = 0
        self.assertEqual(self.allowed, ("4",))

    def test_by_the_clock_it_is_taken_up_although_nobody_asks(self) -> None:
        self.write(self.yaml, "telegram: {allow_from: [4]}\n")
        before = settings.CONFIG

        async def until_changed() -> None:
            watching = asyncio.create_task(live.watch())
            async with asyncio.timeout(10):
                while settings.CONFIG is before:
                    await asyncio.sleep(0.01)
            watching.cancel()

        with mock.patch.object(live, "CHECK_SECONDS", 0.01):
            asyncio.run(until_changed())
        self.assertEqual(settings.CONFIG.access.platforms["telegram"].allow_from, ("4",))

    def test_many_threads_see_one_configuration_or_the_other(self) -> None:
        seen: set[tuple[str, ...]] = set()
        changes: list[bool] = []
        self.write(self.yaml, "telegram: {allow_from: [4]}\nlanes: {max_depth: 40}\n")
        barrier = threading.Barrier(8)

        def ask() -> None:
            barrier.wait()
            changes.append(live.reload_if_changed())
            for _ in range(50):
                seen.add(live.config().access.platforms["telegram"].allow_from)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(changes.count(True), 1)
        self.assertLessEqual(seen, {("1",), ("4",)})
        self.assertEqual(self.allowed, ("4",))


class ConfiguredTests(ConfigCase):
    """The helper by which tests have another configuration."""

    def test_changes_are_merged_and_taken_back(self) -> None:
        before = settings.CONFIG
        with (
            configured(access={"platforms": {"telegram": {"allow_from": "1, 2"}}}),
            configured(limits={"chat_burst": 3}),
        ):
            self.assertEqual(live.config().access.platforms["telegram"].allow_from, ("1", "2"))
            self.assertEqual(live.config().limits.chat_burst, 3)
            self.assertTrue(live.config().access.platforms["cli"].allow_all_users)
        self.assertIs(settings.CONFIG, before)

    @configured(access={"platforms": {"folder": {}}})
    def test_a_platform_that_is_not_shipped_has_lists_as_well(self) -> None:
        self.assertEqual(live.config().access.platforms["folder"].dm_policy, "pairing")

    def test_without_changes_it_is_the_same(self) -> None:
        for environment in ({}, {"HERMES_BIND": "h:1", "OPENAI_API_KEY": "k"}):
            config = self.load(**environment)
            self.assertEqual(config.changed(), config)

    def test_what_is_wrong_is_refused(self) -> None:
        with self.assertRaises(ValueError), configured(access={"platforms": {"cli": {"dm_policy": "maybe"}}}):
            pass


def age(path: Path) -> None:
    """Makes a file's last change a while ago, and one that no other had."""
    then = time.time_ns() - 60 * 10**9
    os.utime(path, ns=(then, then))
