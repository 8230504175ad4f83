"""Splitting: no character is lost, no part is too long, and every part's code blocks are whole."""

from __future__ import annotations

import re
import unittest

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway_app.platforms.splitting import LEAST_LIMIT, pieces, split, utf16_length

LIMIT = LEAST_LIMIT

words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=0, max_size=30)
long_runs = st.builds(
    lambda text, count: text * count,
    st.sampled_from(["a", "é", "😀", "`", "~", " ", "x y ", "界"]),
    st.integers(0, 900),
)
fences = st.sampled_from(
    ["```", "```python", "````", "~~~", "~~~ text", "  ```", "``` js", "`````````", "```a`b", "```\r"]
)
lines = st.lists(st.one_of(words, fences, fences, long_runs, st.sampled_from(["", "`code`", "a `b c` d"])), max_size=30)
texts = st.builds(lambda parts, end: "\n".join(parts) + end, lines, st.sampled_from(["", "\n"]))
glued = st.builds("".join, st.lists(st.one_of(words, fences, long_runs, st.just("\n")), max_size=30))


def is_whole(part: str) -> bool:
    """Whether a reader who goes line by line, as Markdown does, is outside of any code block at the end."""
    marker = ""
    for line in part.split("\n"):
        found = re.fullmatch(r"[ \t]{0,24}(`{3,8}|~{3,8})([\t -_a-~]{0,30})\r?", line)
        if found and not marker:
            marker = found[1]
        elif found and found[1].startswith(marker) and not found[2].strip():
            marker = ""
    return not marker


class EveryText(unittest.TestCase):
    @settings(max_examples=400)
    @given(st.one_of(texts, glued), st.sampled_from([len, utf16_length, lambda text: len(text.encode())]))
    @example("```python\n" + "x = 1\n" * 400 + "```\n", len)
    @example("a" * 390 + "\n```python\nprint(1)\n```\n" + "b" * 390, len)
    @example("x" * 399 + "```" + "y" * 500, len)
    @example("``` " + "word " * 200, len)
    def test_loses_no_character_exceeds_no_limit_and_leaves_no_block_open(self, text: str, length) -> None:  # type: ignore[no-untyped-def]
        found = pieces(text, limit=LIMIT, length=length)
        self.assertEqual("".join(piece.body for piece in found), text)
        for piece in found:
            self.assertTrue(piece.body)
            self.assertLessEqual(length(str(piece)), LIMIT)
            self.assertTrue(is_whole(str(piece)), str(piece))
        shown = split(text, limit=LIMIT, length=length)
        self.assertEqual(shown, [str(piece) for piece in found if piece.body.strip()])

    @given(texts)
    def test_is_one_part_unchanged_where_it_fits_and_its_blocks_are_whole(self, text: str) -> None:
        if len(text) <= LIMIT and text.strip() and is_whole(text):
            self.assertEqual(split(text, limit=LIMIT), [text])


class Splitting(unittest.TestCase):
    def test_a_blank_text_has_no_parts(self) -> None:
        for text in ("", " ", "\n\n", "\n" * 5000):
            self.assertEqual(split(text, limit=LIMIT), [])

    def test_a_cut_comes_after_a_newline_in_the_second_half_before_one_after_a_space(self) -> None:
        text = "a " * 130 + "\n" + "b " * 130
        self.assertEqual(split(text, limit=LIMIT), ["a " * 130 + "\n", "b " * 130])

    def test_a_newline_in_the_first_half_gives_way_to_a_space_in_the_second(self) -> None:
        text = "a\n" + "bcd " * 120
        self.assertEqual(split(text, limit=LIMIT), ["a\n" + "bcd " * 97, "bcd " * 23])

    def test_a_text_without_spaces_is_cut_at_the_limit(self) -> None:
        self.assertEqual([len(part) for part in split("x" * 1000, limit=LIMIT)], [391, 391, 218])

    def test_a_block_is_closed_and_opened_again_with_its_language(self) -> None:
        parts = split("```python\n" + "print('x')\n" * 60 + "```\nDone.", limit=LIMIT)
        self.assertEqual(len(parts), 2)
        self.assertTrue(parts[0].endswith("print('x')\n```"))
        self.assertTrue(parts[1].startswith("```python\nprint('x')\n"))
        self.assertTrue(parts[1].endswith("```\nDone."))

    def test_a_line_cut_within_a_block_gets_its_fences_on_lines_of_their_own(self) -> None:
        first, second = split("```\n" + "x" * 500 + "\n```", limit=LIMIT)
        self.assertRegex(first, r"^```\nx+\n```$")
        self.assertRegex(second, r"^```\nx+\n```$")

    def test_a_block_is_not_opened_at_the_very_end_of_a_part(self) -> None:
        first, second = split("a" * 300 + "\n```python\n" + "y" * 200 + "\n```", limit=LIMIT)
        self.assertEqual(first, "a" * 300 + "\n")
        self.assertEqual(second, "```python\n" + "y" * 200 + "\n```")

    def test_the_fence_that_closes_a_block_goes_with_it(self) -> None:
        code = "```\n" + "z" * 382 + "\n```\n"
        self.assertEqual(split(code + "b" * 300, limit=LIMIT), [code, "b" * 300])

    def test_a_block_that_is_never_closed_is_closed_at_the_end(self) -> None:
        self.assertEqual(split("```sh\nls", limit=LIMIT), ["```sh\nls\n```"])

    def test_inline_code_is_not_cut(self) -> None:
        first, second = split("word " * 60 + "`" + "code " * 30 + "`", limit=LIMIT)
        self.assertEqual(first, "word " * 60)
        self.assertEqual(second, "`" + "code " * 30 + "`")

    def test_a_surrogate_pair_counts_as_two_and_is_never_cut(self) -> None:
        parts = split("😀" * 1000, limit=LIMIT, length=utf16_length)
        self.assertEqual("".join(parts), "😀" * 1000)
        self.assertTrue(all(utf16_length(part) <= LIMIT for part in parts))

    def test_characters_that_show_as_one_stay_together(self) -> None:
        for cluster in ("👩\u200d👩\u200d👧", "e\u0301", "👍🏽", "1\ufe0f\u20e3", "\r\n"):
            for shift in range(8):
                text = "a" * shift + cluster * 200
                for part in split(text, limit=LIMIT):
                    self.assertEqual(part.lstrip("a").replace(cluster, ""), "", (cluster, shift))

    def test_a_limit_too_small_for_a_fence_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "The limit is 399; allowed: 400 or more."):
            split("a", limit=399)
