"""How values are read: from text, as variables have them, and as YAML and JSON have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.test import SimpleTestCase

from gateway_app.config import addresses, kinds, values
from gateway_app.config.catalogue import BY_VARIABLE
from gateway_app.config.errors import Wrong
from hermes_site.urls import urlpatterns


class KindTests(SimpleTestCase):
    def refused(self, read: Callable[[Any], Any], *found: Any, allowed: str = "") -> None:
        for value in found:
            with self.subTest(value=value), self.assertRaises(Wrong) as caught:
                read(value)
            self.assertIn(allowed, caught.exception.allowed)

    def test_words_for_yes_and_no(self) -> None:
        for word in ("true", "True", " 1 ", "YES", "on", True, 1):
            self.assertIs(kinds.read_flag(word), True)
        for word in ("false", "0", "No", "OFF", False, 0):
            self.assertIs(kinds.read_flag(word), False)
        self.refused(
            kinds.read_flag, "2", "ja", "truee", 2, [], {}, 1.0, allowed="true, 1, yes, on, false, 0, no or off"
        )

    def test_numbers_are_finite(self) -> None:
        self.assertEqual([kinds.read_number(word) for word in ("2.5", 2, 2.5, "1e3")], [2.5, 2, 2.5, 1000])
        self.refused(kinds.read_number, "nan", "inf", "-inf", "1e999", "x", "0x10", True, [1], {}, 10**400)

    def test_whole_numbers_have_no_fraction(self) -> None:
        self.assertEqual([kinds.read_whole(word) for word in ("12", 12, 12.0)], [12, 12, 12])
        self.refused(kinds.read_whole, "1.5", 1.5, "inf", False)

    def test_lists_are_split_stripped_and_have_each_entry_once_in_order(self) -> None:
        self.assertEqual(kinds.read_words(" b, ,a c,,b"), ("b", "a c"))
        self.assertEqual(kinds.read_words([5, " a ", "5", "", -100123]), ("5", "a", "-100123"))
        self.assertEqual(kinds.read_words(987654321), ("987654321",))
        self.assertEqual(kinds.read_words([]), ())

    def test_entries_of_lists_stand_on_one_line_and_are_short(self) -> None:
        self.assertEqual(kinds.read_words("a" * 255), ("a" * 255,))
        self.refused(
            kinds.read_words, "a\nb", ["a\0"], "a\u2028b", "a" * 256, "x," + "9" * 10_240, allowed="255 characters"
        )
        self.refused(kinds.read_words, [True], [None], [["a"]], [{"a": 1}], {"a": 1}, True)

    def test_a_long_entry_is_not_repeated_whole(self) -> None:
        with self.assertRaises(Wrong) as caught:
            kinds.read_words("9" * 10_240)
        self.assertLess(len(caught.exception.found), 150)

    def test_commands_are_lower_case_and_without_their_slash(self) -> None:
        self.assertEqual(kinds.read_commands("/New, STOP,/,new"), ("new", "stop"))

    def test_modes_of_chats_are_a_mapping_in_files_and_pairs_in_variables(self) -> None:
        expected = ("-1001=queue", "a=b=steer")
        self.assertEqual(kinds.read_chat_modes({-1001: "Queue", "a=b": "steer"}), expected)
        self.assertEqual(kinds.read_chat_modes(" -1001 = queue, a=b=STEER,"), expected)
        self.assertEqual(kinds.read_chat_modes([]), ())
        self.refused(kinds.read_chat_modes, "-1001", "=queue", {"a": "dance"}, {"a": None}, [True], allowed="entries")

    def test_yaml_s_no_is_the_word_off(self) -> None:
        self.assertEqual([kinds.read_word(word) for word in (False, True, "Pair")], ["off", "on", "pair"])

    def test_texts_may_be_numbers_but_not_yes_or_no(self) -> None:
        self.assertEqual([kinds.read_text(word) for word in (" a ", 5)], ["a", "5"])
        self.refused(kinds.read_text, True, [], {}, "a\0b")

    def test_the_admin_s_path_has_no_slashes_around_it(self) -> None:
        self.assertEqual([kinds.read_admin_path(word) for word in ("/a-b/C_1/", "admin")], ["a-b/C_1", "admin"])
        self.refused(kinds.read_admin_path, "/", "a//b", "a b", "a?b", "../x", "ä", allowed="letters, digits")
        self.refused(kinds.read_admin_path, "chat", "/static/x", allowed="does not begin with chat, healthz")
        for pattern in urlpatterns:
            first = str(pattern.pattern).partition("/")[0]
            self.assertIn(first, {"", settings.ADMIN_PATH, *kinds.TAKEN_PATHS})

    def test_networks(self) -> None:
        self.assertEqual(kinds.read_networks("127.0.0.1, 10.1.2.3/8"), ("127.0.0.1/32", "10.0.0.0/8"))
        self.assertEqual(kinds.read_networks(["::1"]), ("::1/128",))
        self.refused(kinds.read_networks, "proxy.internal", "10.0.0.0/40", allowed="IP addresses or networks")


class AddressTests(SimpleTestCase):
    def test_urls_lose_their_trailing_slash(self) -> None:
        read = addresses.url_reader("http", "https")
        self.assertEqual(read("http://a:1/v1/"), "http://a:1/v1")

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
            "u:geheim://host",
        ):
            with self.subTest(url), self.assertRaises(Wrong) as caught:
                addresses.read_url(url, schemes=("http", "https"))
            self.assertIn("http://, https://", caught.exception.allowed)
            self.assertNotIn("geheim", caught.exception.found + caught.exception.allowed)
            self.assertTrue(caught.exception.found)

    def test_databases(self) -> None:
        found = addresses.database_entry(addresses.read_database_url("postgres://u:p%40ss@h:5433/name"))
        self.assertEqual(found["ENGINE"], "django.db.backends.postgresql")
        self.assertEqual(
            [found[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")], ["u", "p@ss", "h", 5433, "name"]
        )
        self.assertEqual(addresses.database_entry("sqlite:////a/b%2Bc.db")["NAME"], "/a/b+c.db")
        self.assertEqual(addresses.database_entry("sqlite:///x.db")["NAME"], str(addresses.ROOT / "x.db"))
        for url in (
            "mysql://u:geheim@h/x",
            "postgres://u:geheim@h",
            "postgres://u:geheim@h/",
            "postgres://u:geheim@h:x/n",
            "sqlite://:memory:",
        ):
            with self.subTest(url), self.assertRaises(Wrong) as caught:
                addresses.read_database_url(url)
            self.assertNotIn("geheim", caught.exception.found + caught.exception.allowed)

    def test_addresses_to_listen_on(self) -> None:
        self.assertEqual(addresses.read_bind("0.0.0.0:80"), ("0.0.0.0", 80))
        self.assertEqual(addresses.read_bind("[::1]:8000"), ("::1", 8000))
        for word in ("8000", ":8000", "host", "host:", "host:0", "host:65536", "host:-1", "host:²", 8000, None):
            with self.subTest(word), self.assertRaises(Wrong):
                addresses.read_bind(word)

    def test_placeholders_are_no_tokens(self) -> None:
        for token in ("123456:a-token-for-tests", "1:ab", "99:TEST-token", "123456:abcdef:ghi"):
            self.assertEqual(addresses.read_telegram_token(token), token)
        for token in (
            "changeme",
            "123456789:AA…",
            "1:a",
            "5:CHANGE-ME",
            "12345:your_bot_token_here",
            "12345:xxxxxxxx",
            "<x>",
        ):
            with self.subTest(token), self.assertRaisesRegex(Wrong, "placeholder"):
                addresses.read_telegram_token(token)
        for token in ("own", "abc:def", "12345:a b", "12345:a/b", True, 12345):
            with self.subTest(token), self.assertRaisesRegex(Wrong, "as BotFather gives it"):
                addresses.read_telegram_token(token)

    def test_an_address_is_shown_without_user_password_and_query(self) -> None:
        self.assertEqual(addresses.shown("redis://u:geheim@h:1/0?password=geheim"), "redis://…@h:1/0?…")
        self.assertEqual(addresses.shown("sqlite:////a/b.db"), "sqlite:////a/b.db")


class ShownTests(SimpleTestCase):
    def test_values_in_words(self) -> None:
        for variable, value, words in (
            ("OPENAI_API_KEY", "geheim", "set, not shown"),
            ("OPENAI_API_KEY", "", "none"),
            ("REDIS_URL", "redis://:geheim@h/0", "redis://…@h/0"),
            ("OPENAI_BASE_URL", "http://u:geheim@h/v1", "http://…@h/v1"),
            ("HERMES_BIND", ("::1", 80), "[::1]:80"),
            ("HERMES_DEBUG", False, "false"),
            ("HERMES_SWEEP_SECONDS", 3.0, "3"),
            ("TELEGRAM_ALLOW_FROM", ("1", "2"), "1, 2"),
            ("TELEGRAM_ALLOW_FROM", (), "none"),
        ):
            self.assertEqual(values.shown(BY_VARIABLE[variable], value), words)
