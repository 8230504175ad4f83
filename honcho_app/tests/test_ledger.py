"""What a turn puts down for Honcho."""

from __future__ import annotations

from tests.honcho_case import HonchoCase


class LedgerTests(HonchoCase):
    def test_what_was_said_is_written_in_order_and_under_its_speakers(self) -> None:
        self.say("hello", "and again")
        self.write()
        self.assertEqual(self.stored(), ["hello", "echo: hello", "and again", "echo: and again"])
        self.assertEqual(self.states(), ["sent"] * 4)
