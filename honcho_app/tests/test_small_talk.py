from __future__ import annotations

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from honcho_app.small_talk import MOST_WORDS, WORDS, is_small_talk


class SmallTalkTests(SimpleTestCase):
    def test_nods_thanks_and_emoji_are(self) -> None:
        for text in (
            "ok", "OK!", "Okay…", "thanks", "Thank you!", "yes, do it", "k", "👍", "👍🏽 ❤️", "...", "", " \n",
            "Got it :)", "Go ahead.", "Danke dir!", "d’accord", "D'accord", "sí", "Спасибо большое!", "ＯＫ",
        ):  # fmt: skip
            with self.subTest(text):
                self.assertTrue(is_small_talk(text))

    def test_commands_are_and_paths_are_not(self) -> None:
        for text in ("/new", "/title My garden", "/help@hermes_bot", "  /stop"):
            with self.subTest(text):
                self.assertTrue(is_small_talk(text))
        for text in ("/etc/hosts is wrong", "/ what does this mean", "5/6 of it"):
            with self.subTest(text):
                self.assertFalse(is_small_talk(text))

    def test_what_asks_or_says_something_is_not(self) -> None:
        for text in (
            "hello", "ok and what about my sister?", "no, the other one", "thanks, now book it", "42", "1️⃣", "why?",
            "да или нет?", "do it in French", "ありがとう、次は？",
        ):  # fmt: skip
            with self.subTest(text):
                self.assertFalse(is_small_talk(text))

    def test_many_small_words_are_a_message(self) -> None:
        self.assertTrue(is_small_talk("ok " * MOST_WORDS))
        self.assertFalse(is_small_talk("ok " * (MOST_WORDS + 1)))

    @given(st.text(max_size=40))
    def test_whatever_is_written_it_is_told_and_only_known_words_pass(self, text: str) -> None:
        letters = {word for word in text.casefold().split() if word.isalpha() and word.isascii()}
        if is_small_talk(text) and not text.lstrip().startswith("/"):
            self.assertLessEqual(letters, WORDS)
