from __future__ import annotations

from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from honcho_app.recall_text import CUT, Memory, cut, worded

texts = st.text(max_size=400)


class WordingTests(SimpleTestCase):
    def test_each_part_has_its_heading_and_facts_are_a_list(self) -> None:
        memory = Memory(
            summary="They plan a garden.",
            representation="## Facts\n- likes roses",
            card=["Ann", " a\nb "],
            own_card=["brief"],
            own_representation="kind",
        )
        self.assertEqual(
            worded(memory, tokens=800),
            "Facts about the person:\n- Ann\n- a b\n\nSummary of this conversation so far:\nThey plan a garden.\n\n"
            "What was worked out about the person:\n## Facts\n- likes roses\n\n"
            "Facts about yourself, for this person:\n- brief\n\n"
            "What was worked out about yourself, for this person:\nkind",
        )

    def test_what_there_is_not_is_not_spoken_of(self) -> None:
        self.assertEqual(worded(Memory(card=["", " "], summary=" \n"), tokens=800), "")
        self.assertNotIn("yourself", worded(Memory(summary="a garden"), tokens=800))

    def test_a_long_part_leaves_the_short_ones_whole(self) -> None:
        text = worded(Memory(summary="A garden.", card=["Ann"], representation="likes roses\n" * 5000), tokens=200)
        self.assertLessEqual(len(text), 800)
        self.assertGreater(len(text), 700)
        self.assertIn("- Ann\n", text)
        self.assertIn("A garden.", text)
        self.assertTrue(text.endswith(f"likes roses {CUT}"))

    def test_two_long_parts_have_equal_shares(self) -> None:
        text = worded(Memory(summary="s " * 5000, representation="r " * 5000), tokens=500)
        self.assertAlmostEqual(text.count("s "), text.count("r "), delta=30)

    @given(
        st.builds(
            Memory, summary=texts, representation=texts, card=st.lists(texts, max_size=5), own_representation=texts
        )
    )
    def test_it_never_costs_more_than_it_may(self, memory: Memory) -> None:
        for tokens in (1, 10, 50, 200):
            self.assertLessEqual(len(worded(memory, tokens=tokens)), tokens * 4)


class CuttingTests(SimpleTestCase):
    def test_what_fits_stays(self) -> None:
        self.assertEqual(cut("two words", longest=9), "two words")

    def test_it_ends_with_a_whole_line_or_word(self) -> None:
        self.assertEqual(cut("one line\nanother line", longest=15), f"one line {CUT}")
        self.assertEqual(cut("several words in a line", longest=17), f"several words {CUT}")
        self.assertEqual(cut("x" * 30, longest=10), f"{'x' * 8} {CUT}")

    @given(texts, st.integers(0, 50))
    def test_it_is_never_longer(self, text: str, longest: int) -> None:
        self.assertLessEqual(len(cut(text, longest=longest)), longest)
