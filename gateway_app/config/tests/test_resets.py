"""Exceptions from `session_reset`, for kinds of chats and for platforms."""

from __future__ import annotations

import json

from gateway_app.config import values
from gateway_app.config.catalogue import BY_VARIABLE

from .case import ConfigCase


class ResetTests(ConfigCase):
    def test_a_file_and_a_variable_say_the_same(self) -> None:
        wanted = (("group", "mode", "idle"), ("group", "idle_minutes", 60), ("dm", "notify", False))
        self.yaml.write_text("reset_by_type:\n  group: {mode: idle, idle_minutes: 60}\n  dm: {notify: off}\n")
        self.assertEqual(self.load().session_reset.by_type, wanted)
        self.assertEqual(self.load().warnings, ())
        variable = json.dumps({"group": {"mode": "IDLE", "idle_minutes": "60"}, "dm": {"notify": "no"}})
        found = self.load(HERMES_SESSION_RESET_BY_TYPE=variable)
        self.assertEqual(found.session_reset.by_type, wanted)
        shown = values.shown(BY_VARIABLE["HERMES_SESSION_RESET_BY_TYPE"], found.session_reset.by_type)
        self.assertEqual(shown, "group.mode: idle, group.idle_minutes: 60, dm.notify: false")
        self.assertEqual(found.changed(session_reset={"mode": "daily"}).session_reset.by_type, wanted)

    def test_what_a_mapping_says_no_more_is_gone(self) -> None:
        self.yaml.write_text("reset_by_platform: {telegram: {mode: daily}}\n")
        before = self.load()
        self.assertEqual(before.session_reset.by_platform, (("telegram", "mode", "daily"),))
        after = before.changed(session_reset={"by_platform": {"cli": {"at_hour": 0}}})
        self.assertEqual(after.session_reset.by_platform, (("cli", "at_hour", 0),))

    def test_what_is_wrong_is_named_with_what_is_allowed(self) -> None:
        for found, words in (
            ('{"group": {"mode": "often"}}', "is group.mode 'often'; allowed: none, idle, daily or both."),
            ('{"dm": {"at_hour": 24}}', "is dm.at_hour 24; allowed: a whole number of at least 0 and at most 23."),
            ('{"dm": {"idle_minutes": 0}}', "allowed: a whole number of at least 1 and at most 5,256,000."),
            ('{"channel": {"minutes": 5}}', "is one with 'minutes'; allowed: a mapping with some of mode, at_hour,"),
            ('{"forum": {}}', "is one with 'forum'; allowed: a mapping with some of dm, group, channel, thread."),
            ("[1]", "is [1]; allowed: a mapping with some of dm"),
            ("idle", "allowed: names with settings, in a variable as JSON"),
        ):
            with self.subTest(found):
                self.refused(f"HERMES_SESSION_RESET_BY_TYPE {words}" if words.startswith("is") else words,
                             HERMES_SESSION_RESET_BY_TYPE=found)  # fmt: skip
        self.refused(
            "allowed: a mapping with some of cli, telegram, webchat.", HERMES_SESSION_RESET_BY_PLATFORM='{"irc": {}}'
        )
        self.refused(
            "HERMES_TIMEZONE is 'Mars/Olympus'; allowed: an IANA time zone, for example Europe/Paris.",
            HERMES_TIMEZONE="Mars/Olympus",
        )
        self.refused("SESSION_RESET_HOUR is '24'; allowed: a whole number", SESSION_RESET_HOUR="24")
