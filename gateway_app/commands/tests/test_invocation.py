"""Which texts are commands, and for whom."""

from __future__ import annotations

from django.test import SimpleTestCase
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_app.commands.invocation import Invocation, invoked, parse
from gateway_app.sessions.source import ChatType
from tests import pipeline


class ParsingTests(SimpleTestCase):
    def test_commands_are_read(self) -> None:
        for text, expected in (
            ("/help", ("help", "", "")),
            ("  \n/help ", ("help", "", "")),
            ("/HeLp", ("help", "", "")),
            ("/model gpt  4 ", ("model", "", "gpt  4")),
            ("/title one\ntwo", ("title", "", "one\ntwo")),
            ("/title\ntwo", ("title", "", "two")),
            ("/help@Hermes_Bot", ("help", "Hermes_Bot", "")),
            ("/model@hermes_bot gpt", ("model", "hermes_bot", "gpt")),
            ("/reload-mcp", ("reload-mcp", "", "")),
            ("/a_1", ("a_1", "", "")),
            ("/etc", ("etc", "", "")),
            ("/help /whoami", ("help", "", "/whoami")),
            (f"/{'a' * 32}", ("a" * 32, "", "")),
        ):
            with self.subTest(text):
                self.assertEqual(parse(text), Invocation(*expected))

    def test_what_only_looks_like_a_command_is_plain_text(self) -> None:
        for text in (
            "",
            "/",
            "/ help",
            "//help",
            "/1",
            "/-help",
            "/path/to/file",
            "/help/",
            "/help.",
            "/help,please",
            "/help@",
            "/help@ hermes_bot",
            "/help@a@b",
            "/help@my.bot",
            "see /help",
            "say\n/help",
            "[photo] /help",
            f"/{'a' * 33}",
            "\u2044help",  # fraction slash
            "\u2215help",  # division slash
            "\uff0fhelp",  # full-width slash
            "\u29f8help",  # big solidus
            "\u200b/help",  # after a space of no width
            "/\u0435xit",  # Cyrillic
            "/\u212aill",  # Kelvin sign
            "/\u017ftop",  # long s
            "/h\u00e9lp",
            "/help\u200b",
        ):
            with self.subTest(text.encode("unicode_escape").decode()):
                self.assertIsNone(parse(text))

    @given(st.text(max_size=60))
    @settings(max_examples=1000, deadline=None)
    def test_a_text_that_does_not_begin_with_a_slash_is_never_a_command(self, text: str) -> None:
        if not text.lstrip().startswith("/"):
            self.assertIsNone(parse(text))

    @given(st.text(alphabet="/@ aZ9_-\n\t.é\u2044\u00a0", max_size=50).map(lambda text: f"/{text}"))
    @settings(max_examples=2000, deadline=None)
    def test_whatever_is_read_has_a_plain_name_and_holds_the_whole_text(self, text: str) -> None:
        found = parse(text)
        if found is None:
            return
        self.assertRegex(found.name, r"\A[a-z][a-z0-9_-]{0,31}\Z")
        name = f"/{found.name}@{found.bot}" if found.bot else f"/{found.name}"
        self.assertEqual(f"{name} {found.arguments}".strip().lower().split(), text.lower().split())

    @given(st.from_regex(r"\A/[a-z][a-z0-9_-]{0,31}\Z"), st.text(max_size=30))
    @settings(max_examples=500, deadline=None)
    def test_every_proper_name_is_read_whatever_follows_a_blank(self, typed: str, arguments: str) -> None:
        self.assertEqual(parse(f" {typed} {arguments}"), Invocation(typed[1:], "", arguments.strip()))


class MeantForUsTests(SimpleTestCase):
    def test_in_a_direct_message_every_command_is_for_us(self) -> None:
        for text in ("/help", "/nonsense", "/help@other_bot"):
            with self.subTest(text):
                self.assertIsNotNone(invoked(text, source=pipeline.source()))

    def test_in_a_group_only_a_command_that_we_know_and_that_names_no_bot_is_for_us(self) -> None:
        for chat_type in (ChatType.GROUP, ChatType.CHANNEL, ChatType.THREAD):
            source = pipeline.source(chat_id="g", chat_type=chat_type)
            self.assertIsNotNone(invoked("/help", source=source))
            self.assertIsNotNone(invoked("/start", source=source))
            for text in ("/nonsense", "/help@other_bot", "hello"):
                with self.subTest(text):
                    self.assertIsNone(invoked(text, source=source))
