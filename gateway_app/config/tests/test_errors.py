"""What stops the start, and what is only said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from unittest import mock

from gateway_app.config.errors import BadFile
from tests.processes import ROOT

from .case import ConfigCase


class WrongValueTests(ConfigCase):
    def test_every_wrong_value_is_named_with_what_was_found_what_is_allowed_and_where_it_stands(self) -> None:
        self.dotenv.write_text("HERMES_WORKERS=many\n")
        self.yaml.write_text("lanes: {lease_seconds: 0.5}\nplatforms: {telegram: {dm_policy: maybe}}\n")
        self.json.write_text(json.dumps({"limits": {"chat_burst": {"a": 1}}}))
        message = self.refused(HERMES_DEBUG="perhaps")
        self.assertEqual(
            sorted(message.split("\n")),
            [
                "HERMES_DEBUG is 'perhaps'; allowed: true, 1, yes, on, false, 0, no or off."
                " Found in: environment HERMES_DEBUG.",
                "HERMES_LANE_LEASE_SECONDS is '0.5'; allowed: a number of at least 1 and at most 3,600."
                " Found in: config.yaml lanes.lease_seconds.",
                "HERMES_LIMIT_CHAT_BURST is '{'a': 1}'; allowed: a whole number of at least 1."
                " Found in: gateway.json limits.chat_burst.",
                "HERMES_WORKERS is 'many'; allowed: a whole number of at least 1 and at most 256."
                " Found in: .env HERMES_WORKERS.",
                "TELEGRAM_DM_POLICY is 'maybe'; allowed: pairing, allowlist, open or disabled."
                " Found in: config.yaml platforms.telegram.dm_policy.",
            ],
        )

    def test_no_secret_and_no_password_is_repeated(self) -> None:
        message = self.refused(
            "TELEGRAM_BOT_TOKEN is '(not shown)'",
            "DATABASE_URL is 'mysql://…'",
            TELEGRAM_BOT_TOKEN="geheim",
            DATABASE_URL="mysql://u:geheim@h/x",
            OPENAI_BASE_URL="ftp://u:geheim@h",
            REDIS_URL="redis://:geheim@h:x/0",
            CELERY_BROKER_URL="geheim",
        )
        self.assertEqual(len(message.split("\n")), 5)
        self.assertNotIn("geheim", message)
        self.yaml.write_text("model: {api_key: [geheim]}\nhealth: {metrics_token: {geheim: geheim}}\n")
        self.assertNotIn("geheim", self.refused("OPENAI_API_KEY", "HERMES_METRICS_TOKEN"))

    def test_a_hostile_list_is_refused_and_not_repeated_whole(self) -> None:
        self.yaml.write_text('allowed_users: ["1\\n2"]\n')
        self.refused("GATEWAY_ALLOWED_USERS is a list with '1\\n2'; allowed: entries of at most 255 characters")
        self.assertLess(len(self.refused(GATEWAY_ALLOWED_USERS="9" * 10_240, HERMES_LOG_LEVEL="x" * 9_000)), 900)

    def test_open_needs_an_allow_all_in_so_many_words(self) -> None:
        self.yaml.write_text("telegram: {dm_policy: open, group_policy: open}\n")
        message = self.refused(
            "TELEGRAM_DM_POLICY is 'open'; allowed: pairing, allowlist or disabled, unless TELEGRAM_ALLOW_ALL_USERS or"
            " GATEWAY_ALLOW_ALL_USERS is true. Found in: config.yaml telegram.dm_policy."
        )
        self.assertIn("TELEGRAM_GROUP_POLICY is 'open'", message)
        for variable in ("TELEGRAM_ALLOW_ALL_USERS", "GATEWAY_ALLOW_ALL_USERS"):
            self.assertEqual(self.load(**{variable: "on"}).access.platforms["telegram"].dm_policy, "open")
        self.refused("TELEGRAM_DM_POLICY", WEBCHAT_ALLOW_ALL_USERS="true")

    def test_a_wrong_setting_stops_every_command_without_a_traceback(self) -> None:
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


class UnknownTests(ConfigCase):
    def test_unknown_keys_are_named_with_the_nearest_known_one(self) -> None:
        self.yaml.write_text(
            "allowed_user: [1]\n"
            "lanes: {lease_second: 5}\n"
            "platforms: {telegram: {extra: {alow_from: [1]}}, discord: {token: x, dm_policy: open}}\n"
            "gateway: {limit: {chat_burst: 3}}\n"
            "delivery: 7\n"
        )
        self.json.write_text(json.dumps({"session_resets": {"mode": "none"}}))
        self.assertEqual(
            self.load().warnings,
            (
                "config.yaml: the key 'allowed_user' is not known and is left out of account."
                " The nearest known one is 'allowed_users'.",
                "config.yaml: the key 'lanes.lease_second' is not known and is left out of account."
                " The nearest known one is 'lanes.lease_seconds'.",
                "config.yaml: the key 'platforms.telegram.extra.alow_from' is not known and is left out of account."
                " The nearest known one is 'platforms.telegram.extra.allow_from'.",
                "config.yaml: the key 'platforms.discord' is not known and is left out of account.",
                "config.yaml: the key 'gateway.limit' is not known and is left out of account."
                " The nearest known one is 'gateway.limits'.",
                "config.yaml: the key 'delivery' holds other keys, and is left out of account as it is.",
                "gateway.json: the key 'session_resets' is not known and is left out of account."
                " The nearest known one is 'session_reset'.",
            ),
        )

    def test_unknown_variables_of_ours_are_named_and_those_of_others_are_not(self) -> None:
        self.dotenv.write_text("TELEGRAM_ALLOWED_USER=1\nHTTPS_PROXY=http://h\nHERMES_HOME=/x\n")
        found = self.load(HERMES_WORKER="3", GATEWAY_X="1", PATH="/bin", DISCORD_BOT_TOKEN="x").warnings
        self.assertEqual(
            found,
            (
                "environment: the variable 'GATEWAY_X' is not known and is left out of account.",
                "environment: the variable 'HERMES_WORKER' is not known and is left out of account."
                " The nearest known one is 'HERMES_WORKERS'.",
                ".env: the variable 'TELEGRAM_ALLOWED_USER' is not known and is left out of account."
                " The nearest known one is 'TELEGRAM_ALLOWED_USERS'.",
                ".env: HERMES_HOME has no effect here, since it says where this file is.",
            ),
        )

    def test_no_value_is_in_a_warning(self) -> None:
        self.yaml.write_text("model: {api_kee: geheim}\n")
        self.assertNotIn("geheim", " ".join(self.load(HERMES_SECRET="geheim").warnings))


class FileTests(ConfigCase):
    def bad(self, name: str, content: bytes | str, *words: str) -> str:
        path = self.home / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.addCleanup(path.unlink, missing_ok=True)
        with self.assertRaises(BadFile) as caught:
            self.load()
        for word in (str(path), *words):
            self.assertIn(word, str(caught.exception))
        path.unlink()
        return str(caught.exception)

    def test_files_that_are_not_whole_are_named_with_the_line_and_never_repeated(self) -> None:
        for name, content, *words in (
            (".env", "A=1\nOPENAI_API_KEY: geheim\n", "line 2", "KEY=value"),
            (".env", b"A=\xff\n", "line 1", "not UTF-8"),
            ("config.yaml", "a: 1\nmodel: {api_key: geheim\n", "line 3"),
            ("config.yaml", "model:\n\tapi_key: geheim\n", "line 2"),
            ("config.yaml", "model: {api_key: *geheim}\n", "line 1"),
            ("config.yaml", "model: {api_key: !geheim x}\n", "line 1", "could not determine a constructor"),
            ("config.yaml", "limits: {chat_burst: 1}\nlimits: {chat_burst: 2}\n", "line 2", "a key is there twice"),
            ("config.yaml", b"model: {api_key: geheim}\n# \xe4\n", "line 2", "not UTF-8"),
            ("config.yaml", "a: \x01\n", "characters in it that YAML does not allow"),
            ("config.yaml", "geheim\n", "allowed: keys with values"),
            ("config.yaml", "[" * 5000, "config.yaml"),
            ("config.yaml", f"a: {'9' * 5000}\n", "cannot be read"),
            ("config.yaml", "#" * (1024 * 1024 + 1), "larger than 1,048,576 bytes"),
            ("gateway.json", '{"a": 1,\n"b": "geheim', "line 2", "Unterminated string"),
            ("gateway.json", '{"a": 1, "a": 2}', "'a' is there twice"),
            ("gateway.json", "[1]", "allowed: keys with values"),
            ("gateway.json", "[" * 100_000, "nested too deeply"),
        ):
            with self.subTest(name=name, content=content[:40]):
                self.assertNotIn("geheim", self.bad(name, content, *words))

    def test_files_that_do_not_exist_or_are_empty_say_nothing(self) -> None:
        self.load()
        for path in (self.dotenv, self.yaml, self.json):
            path.write_text("")
        self.assertEqual(self.load().warnings, ())
        self.yaml.write_text("\ufeff# only a comment\n")
        self.load()

    def test_a_file_that_everybody_can_write_is_refused(self) -> None:
        for path in (self.dotenv, self.yaml, self.json):
            path.write_text("")
            path.chmod(0o666)
            self.refused(str(path), "can be written by everybody (mode 666); allowed: chmod o-w")
            path.unlink()

    def test_a_folder_and_a_pipe_are_no_files(self) -> None:
        self.yaml.mkdir()
        self.refused("config.yaml cannot be read: Is a directory")
        self.yaml.rmdir()
        os.mkfifo(self.yaml)
        self.refused("config.yaml cannot be read: it is no file")

    def test_somebody_else_s_file_is_refused(self) -> None:
        self.yaml.write_text("{}")
        if os.geteuid() == 0:  # whose files everybody trusts
            os.chown(self.yaml, 65534, -1)
        owner = self.yaml.stat().st_uid
        with mock.patch.object(os, "geteuid", return_value=4242):
            self.refused(f"belongs to the user with number {owner}; allowed: this process's own, 4242, or root.")

    def test_root_may_look_at_the_installation_of_another_user(self) -> None:
        self.yaml.write_text("{}")
        if os.geteuid() == 0:
            os.chown(self.yaml, 65534, -1)
            self.refused("belongs to the user with number 65534")
            os.chown(self.home, 65534, -1)
        with mock.patch.object(os, "geteuid", return_value=0):
            self.load()

    def test_lines_of_dotenv_as_shells_have_them(self) -> None:
        self.dotenv.write_text(
            "# a comment\n\nHERMES_MODEL='two words'\nexport HERMES_KEY_PREFIX=\"p:\"\nHERMES_MODEL=second\n"
        )
        config = self.load()
        self.assertEqual((config.model.name, config.broker.key_prefix), ("second", "p:"))


class SecretFileTests(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        self.secret = self.home / "secret"
        self.secret.write_text("123:geheim\n")

    def test_a_secret_is_read_from_the_file_that_its_variable_names(self) -> None:
        config = self.load(TELEGRAM_BOT_TOKEN_FILE=str(self.secret))
        self.assertEqual(config.platforms.telegram.token, "123:geheim")
        self.assertEqual(config.origin("TELEGRAM_BOT_TOKEN"), "environment TELEGRAM_BOT_TOKEN_FILE")
        self.assertEqual(config.warnings, ())
        self.dotenv.write_text(f"OPENAI_API_KEY_FILE={self.secret}\n")
        self.yaml.write_text("model: {api_key: weaker}\n")
        config = self.load()
        self.assertEqual(
            (config.model.api_key, config.origin("OPENAI_API_KEY")), ("123:geheim", ".env OPENAI_API_KEY_FILE")
        )

    def test_addresses_with_passwords_are_secrets_too(self) -> None:
        self.secret.write_text("postgres://u:p@h/n\n")
        self.assertEqual(self.load(DATABASE_URL_FILE=str(self.secret)).database.url, "postgres://u:p@h/n")

    def test_both_ways_at_once_are_an_error(self) -> None:
        self.dotenv.write_text("OPENAI_API_KEY=geheim\n")
        message = self.refused("OPENAI_API_KEY_FILE and OPENAI_API_KEY are both set", OPENAI_API_KEY_FILE="/x")
        self.assertNotIn("geheim", message)

    def test_a_file_that_cannot_be_read_is_named_and_its_content_is_not(self) -> None:
        missing = self.home / "missing"
        self.refused(
            f"HERMES_METRICS_TOKEN_FILE is '{missing}', which cannot be read", HERMES_METRICS_TOKEN_FILE=str(missing)
        )
        self.secret.write_bytes(b"geheim\xff")
        message = self.refused("not UTF-8", HERMES_METRICS_TOKEN_FILE=str(self.secret))
        self.secret.write_text("\n")
        self.refused("is empty", HERMES_METRICS_TOKEN_FILE=str(self.secret))
        self.secret.write_text("geheim\n")
        message += self.refused("TELEGRAM_BOT_TOKEN is '(not shown)'", TELEGRAM_BOT_TOKEN_FILE=str(self.secret))
        self.assertNotIn("geheim", message)

    def test_only_secrets_have_such_a_variable(self) -> None:
        self.assertIn("HERMES_MODEL_FILE", " ".join(self.load(HERMES_MODEL_FILE=str(self.secret)).warnings))
