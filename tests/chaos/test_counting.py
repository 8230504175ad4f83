"""The suite's own arithmetic: a table of zeros is worth something only if it could have been another."""

from __future__ import annotations

import unittest

from tests.chaos.scenario import judge
from tests.chaos.traffic import Chat, Tally


def seen(*shown: str, sent: int = 3) -> Tally:
    return Chat("7", sent=sent, shown=list(shown)).tally()


class CountingTests(unittest.TestCase):
    def test_answers_in_order_are_nothing_but_answered(self) -> None:
        self.assertEqual(seen("‹7.1›", "‹7.2›\n\n‹7.3›"), Tally(sent=3, answered=3))

    def test_an_answer_that_is_missing_is_not_counted(self) -> None:
        self.assertEqual(seen("‹7.1›", "‹7.3›").answered, 2)

    def test_an_answer_shown_twice_is_duplicated(self) -> None:
        for shown in (["‹7.1›", "‹7.1›"], ["‹7.1›\n\n‹7.1›"], ["‹7.1›", "‹7.1›\n\n‹7.2›"]):
            with self.subTest(shown=shown):
                self.assertEqual((seen(*shown).duplicated, seen(*shown).repeated), (1, 0))

    def test_an_answer_shown_again_with_the_mark_is_repeated(self) -> None:
        self.assertEqual(seen("‹7.1›", "♻️ ‹7.1›", "‹7.2›", "‹7.3›"), Tally(sent=3, answered=3, repeated=1))

    def test_a_marked_answer_that_was_not_shown_before_is_no_repetition(self) -> None:
        self.assertEqual(seen("♻️ ‹7.1›").repeated, 0)

    def test_an_older_answer_after_a_newer_one_is_out_of_order(self) -> None:
        for shown in (["‹7.2›", "‹7.1›"], ["‹7.2›\n\n‹7.1›"], ["‹7.1›", "‹7.2›", "♻️ ‹7.1›"]):
            with self.subTest(shown=shown):
                self.assertEqual(seen(*shown).out_of_order, 1)

    def test_the_text_of_another_chat_is_crossed(self) -> None:
        self.assertEqual(seen("‹7.1›", "‹8.1›").crossed, 1)

    def test_only_a_tally_without_faults_is_right(self) -> None:
        right = Tally(sent=2, accepted=2, answered=2, unknown=1, repeated=1)
        self.assertEqual(judge(right, unknown=1), [])
        for wrong in (
            Tally(lost=1), Tally(duplicated=1), Tally(out_of_order=1), Tally(crossed=1), Tally(sent=1),
            Tally(accepted=1), Tally(answered=-1), Tally(unknown=1), Tally(repeated=1),
        ):  # fmt: skip
            with self.subTest(wrong=wrong):
                self.assertNotEqual(judge(right + wrong, unknown=1), [])
