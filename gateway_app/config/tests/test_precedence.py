"""Which source a value comes from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_app.config.catalogue import BY_VARIABLE, SETTINGS
from gateway_app.fleet.record import RunRecord
from gateway_app.platforms import registry
from tests.dear import dear
from tests.processes import ROOT

from .case import ConfigCase

WHOLES = [setting for setting in SETTINGS if setting.kind.words == "whole number" and "at most" not in setting.limits]
LISTS = [setting for setting in SETTINGS if setting.kind.words == "comma-separated list" and setting.keys]


@dear
class PrecedenceTests(ConfigCase):
    @settings(max_examples=150, deadline=None)
    @given(setting=st.sampled_from([*WHOLES, *LISTS]), data=st.data())
    def test_the_strongest_source_that_says_something_wins(self, setting: Any, data: st.DataObject) -> None:
        variable = setting.variable
        sources = [("environment", None), (".env", None)]
        sources += [(name, place) for name in ("config.yaml", "gateway.json") for place in setting.places]
        numbers = data.draw(st.lists(st.sampled_from(range(len(sources))), unique=True).map(sorted))
        environment: dict[str, str] = {}
        written: dict[str, dict[str, Any]] = {"config.yaml": {}, "gateway.json": {}}
        self.dotenv.unlink(missing_ok=True)
        for number in numbers:
            name, place = sources[number]
            if name == "environment":
                environment[variable] = str(2000 + number)
            elif name == ".env":
                self.dotenv.write_text(f"{variable}={2000 + number}\n")
            else:
                put(written[name], place, 2000 + number)
        for path, content in ((self.yaml, written["config.yaml"]), (self.json, written["gateway.json"])):
            path.write_text(json.dumps(content))  # which is YAML as well
        config = self.load(**environment)
        if not numbers:
            self.assertEqual(config.origin(variable), "default")
            return
        name, place = sources[numbers[0]]
        value = setting.of(config)
        self.assertEqual(value if isinstance(value, int) else int(value[0]), 2000 + numbers[0])
        self.assertEqual(config.origin(variable), f"{name} {'.'.join(place) if place else variable}")

    def test_every_setting_can_be_given_by_its_variable_and_by_its_keys(self) -> None:
        self.assertEqual(len({setting.variable for setting in SETTINGS}), len(SETTINGS))
        places = [place for setting in SETTINGS for place in setting.places]
        self.assertEqual(len(set(places)), len(places))
        self.assertEqual([setting.variable for setting in SETTINGS if not setting.keys], ["HERMES_HOME"])

    def test_every_platform_that_is_shipped_has_its_lists(self) -> None:
        self.assertEqual(tuple(sorted(self.load().access.platforms)), registry.names())

    def test_what_is_empty_is_not_set_but_an_empty_list_is_a_list(self) -> None:
        self.dotenv.write_text("HERMES_LANE_MAX_DEPTH= \n")
        self.yaml.write_text("lanes:\n  max_depth:\nplatforms: {webchat: {allowed_users: []}}\nmodel: {name: ''}\n")
        config = self.load(WEBCHAT_ALLOWED_USERS="", HERMES_MODEL=" ")
        self.assertEqual((config.lanes.max_depth, config.model.name), (50, "gpt-5-mini"))
        self.assertEqual(config.access.platforms["webchat"].allowed_users, ())

    def test_a_key_at_the_top_level_hides_the_nested_one_even_where_it_is_empty(self) -> None:
        self.yaml.write_text("unauthorized_dm_behavior:\ngateway: {unauthorized_dm_behavior: ignore}\n")
        self.assertEqual(self.load().access.unauthorized_dm_behavior, "pair")
        self.yaml.write_text("gateway: {unauthorized_dm_behavior: ignore, limits: {chat_burst: 7}}\n")
        config = self.load()
        self.assertEqual((config.access.unauthorized_dm_behavior, config.limits.chat_burst), ("ignore", 7))

    def test_the_blocks_of_a_platform_are_merged_key_by_key(self) -> None:
        self.json.write_text(json.dumps({"platforms": {"telegram": {"token": "1:json", "dm_policy": "disabled"}}}))
        self.yaml.write_text(
            "gateway: {platforms: {telegram: {allow_from: [1], extra: {group_policy: disabled}}}}\n"
            "platforms: {telegram: {allow_from: 2, require_mention: off}}\n"
            "telegram: {group_allow_admin_from: 3, extra: {allow_from: '4'}}\n"
        )
        config = self.load()
        access = config.access.platforms["telegram"]
        self.assertEqual((config.platforms.telegram.token, access.dm_policy), ("1:json", "disabled"))
        self.assertEqual((access.allow_from, access.group_policy), (("4",), "disabled"))
        self.assertEqual((access.group_allow_admin_from, config.platforms.telegram.require_mention), (("3",), False))
        self.assertEqual(config.origin("TELEGRAM_ALLOW_FROM"), "config.yaml telegram.extra.allow_from")

    def test_ids_in_yaml_stay_what_is_written(self) -> None:
        self.yaml.write_text("allowed_users: [12:30, 0123, -100, 1_0, 5]\n")
        self.assertEqual(self.load().access.allowed_users, ("12:30", "0123", "-100", "1_0", "5"))

    def test_require_mention_at_the_top_level_is_telegram_s_where_its_block_has_none(self) -> None:
        self.yaml.write_text("require_mention: off\n")
        self.assertFalse(self.load().platforms.telegram.require_mention)
        self.yaml.write_text("require_mention: off\ntelegram: {require_mention: on}\n")
        self.assertTrue(self.load().platforms.telegram.require_mention)

    def test_an_explicit_no_in_a_file_beats_a_token_in_the_environment(self) -> None:
        self.yaml.write_text("platforms: {telegram: {enabled: false}}\n")
        self.assertFalse(self.load(TELEGRAM_BOT_TOKEN="1:abcd").platforms.telegram.enabled)
        for text, accounts in (("telegram: {enabled: off}\n", "[]\n"), ("", "['1']\n")):
            self.yaml.write_text(text)
            say = "from gateway_app.platforms.registry import get; print(get('telegram').accounts())"
            done = subprocess.run(
                [sys.executable, "manage.py", "shell", "-v0", "-c", say],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "HERMES_HOME": str(self.home), "TELEGRAM_BOT_TOKEN": "1:abcd"},
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.stdout, accounts, done.stderr)

    def test_what_a_run_recorded_is_stronger_than_files_but_a_model_of_ones_own_is_kept(self) -> None:
        addresses = {"REDIS_URL": "redis://run/0", "OPENAI_BASE_URL": "http://run/v1", "OPENAI_API_KEY": "run"}
        record = RunRecord.of_this_process(site="", environment=addresses)
        with mock.patch("gateway_app.config.sources.running", return_value=record):
            self.yaml.write_text("broker: {redis_url: 'redis://file/0'}\n")
            config = self.load()
            self.assertEqual((config.broker.redis_url, config.model.api_key), ("redis://run/0", "run"))
            self.assertEqual(config.origin("REDIS_URL"), "running installation REDIS_URL")
            self.yaml.write_text("model: {base_url: 'http://file/v1'}\n")
            config = self.load()
            self.assertEqual((config.model.base_url, config.model.api_key), ("http://file/v1", ""))


class DefaultTests(ConfigCase):
    def test_defaults_that_are_worked_out(self) -> None:
        config = self.load(HERMES_BIND="10.0.0.1:80")
        self.assertEqual(config.site.allowed_hosts, ("127.0.0.1", "localhost", "[::1]", "10.0.0.1"))
        self.assertEqual(config.database.url, f"sqlite:///{self.home}/state/db.sqlite3")
        self.assertEqual((config.model.base_url, config.model.limit_field), ("", "max_tokens"))
        self.assertEqual(config.access.platforms["webchat"].allowed_users, ("admin",))
        self.assertEqual([access.allow_all_users for access in config.access.platforms.values()], [True, False, False])
        config = self.load(OPENAI_API_KEY="k", REDIS_URL="redis://h/1")
        self.assertEqual(config.model.base_url, "https://api.openai.com/v1")
        self.assertEqual(config.model.limit_field, "max_completion_tokens")
        self.assertEqual(config.broker.url, "redis://h/1")
        self.assertFalse(config.is_given("CELERY_BROKER_URL"))

    def test_the_secret_key_is_made_once_and_only_where_everything_else_is_right(self) -> None:
        self.refused("HERMES_WORKERS", HERMES_SECRET_KEY="", HERMES_WORKERS="0")
        self.assertFalse((self.home / "state").exists())
        made = self.load(HERMES_SECRET_KEY="").site.secret_key
        self.assertEqual(self.load(HERMES_SECRET_KEY="").site.secret_key, made)
        self.assertGreaterEqual(len(made), 50)

    def test_names_that_others_rely_on(self) -> None:
        for variable in (
            "DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "HERMES_MODEL",
            "HERMES_HOME", "TELEGRAM_BOT_TOKEN", "TELEGRAM_BASE_URL", "GATEWAY_ALLOW_ALL_USERS",
            "GATEWAY_ALLOWED_USERS", "TELEGRAM_ALLOWED_USERS", "TELEGRAM_ALLOW_ALL_USERS", "HERMES_BIND",
            "HERMES_WORKERS",
        ):  # fmt: skip
            self.assertIn(variable, BY_VARIABLE)


def put(content: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    *branch, leaf = place
    for name in branch:
        content = content.setdefault(name, {})
    content[leaf] = value
