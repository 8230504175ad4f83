from __future__ import annotations

import unittest
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway_app.agent.thinking import TAGS, Thinking

MARKS = ["<think", "</", ">", "\n", "\n\n", " ", "\t", "```", "~~~~", "`", "hello", "é😀", "<b>"]
TAGGED = [tag for name in TAGS for tag in (f"<{name}>", f"</{name.upper()}>")]
TEXTS = st.lists(st.sampled_from([*TAGGED, *MARKS, " " * 30]) | st.text(max_size=4), max_size=20).map("".join)


def sorted_out(*pieces: str) -> tuple[str, str]:
    thinking = Thinking()
    found = [thinking.take(piece) for piece in pieces]
    found.append(thinking.close())
    return "".join(piece.text for piece in found), "".join(piece.thought for piece in found)


class ThinkingTests(unittest.TestCase):
    def test_what_is_thought_is_no_part_of_what_is_said(self) -> None:
        self.assertEqual(sorted_out("<think>Hm, 2 + 2.</think>\n\nFour."), ("Four.", "Hm, 2 + 2."))
        self.assertEqual(sorted_out(" <THINKING>a < b</thinking>Yes"), ("Yes", "a < b"))
        self.assertEqual(sorted_out("One\n<thought>x</thought>\nTwo"), ("One\nTwo", "x"))

    def test_a_reply_that_ends_in_the_middle_of_a_thought_says_nothing_of_it(self) -> None:
        self.assertEqual(sorted_out("Well.\n<think>But what if"), ("Well.\n", "But what if"))
        self.assertEqual(sorted_out("<think>so</th"), ("", "so</th"))

    def test_a_tag_within_a_line_or_a_code_block_is_what_it_is(self) -> None:
        fenced = "```html\n<think>\n```\n", "~~~~\n~~~\n<think>\n~~~~"
        for text in ("Use the <think> tag.", *fenced, "<thinker>", "<think", "a </think> b"):
            with self.subTest(text=text):
                self.assertEqual(sorted_out(text), (text, ""))

    def test_a_code_block_that_has_ended_hides_nothing(self) -> None:
        self.assertEqual(sorted_out("```\nx\n```\n<think>y</think>z"), ("```\nx\n```\nz", "y"))

    def test_what_cannot_become_a_tag_is_said_at_once(self) -> None:
        thinking, pieces = Thinking(), ("Hel", "lo <", "thi", "\n<t", "o>")
        said = [thinking.take(piece).text for piece in pieces]
        self.assertEqual(said, ["Hel", "lo <", "thi", "\n", "<to>"])

    @given(TEXTS, st.lists(st.integers(0, 200), max_size=12))
    def test_however_a_reply_is_cut_the_same_is_said_and_thought(self, text: str, cuts: list[int]) -> None:
        places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
        pieces = [text[start:end] for start, end in pairwise(places)]
        self.assertEqual(sorted_out(*pieces), sorted_out(text))
        self.assertEqual(sorted_out(*text), sorted_out(text))
