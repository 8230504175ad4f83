"""What a person sees of a call: exact but for secrets, bounded, and nothing that passes for anything else."""

from __future__ import annotations

import json

from django.test import SimpleTestCase

from gateway_app.config import live
from gateway_app.questions import redaction
from gateway_app.questions.redaction import LONGEST
from gateway_app.questions.words import decision
from gateway_app.redaction import HIDDEN


def shown(arguments: dict[str, object]) -> str:
    return redaction.shown(arguments, config=live.config())


class RedactionTests(SimpleTestCase):
    def test_what_is_shown_is_the_very_json_that_runs(self) -> None:
        arguments = {"to": "Zoë 北京 ```", "amounts": [1, 2.5, None, True], "deep": {"er": "line\nbreak"}}
        self.assertEqual(json.loads(shown(arguments)), arguments)

    def test_secrets_are_hidden_by_their_names_and_by_their_looks(self) -> None:
        for arguments in (
            {"password": "SWORDFISH"}, {"apiKey": "SWORDFISH"}, {"x": {"access_token": ["SWORDFISH"]}},
            {"headers": "Authorization: Bearer SWORDFISHswordfish"}, {"url": "https://ann:SWORDFISH@host/"},
            {"key": "sk-SWORDFISH0123456789"}, {"SWORDFISH sk-SWORDFISH0123456789"[10:]: 1},
            {"pem": "-----BEGIN RSA PRIVATE KEY-----\nSWORDFISH"},
            {"bot": "123456:SWORDFISHSWORDFISHSWORDFISHSWORDFISH"},
        ):  # fmt: skip
            with self.subTest(arguments):
                self.assertNotIn("SWORDFISH", shown(arguments))
                self.assertIn(HIDDEN, shown(arguments))
        self.assertIn("author", shown({"author": "of the passage"}))

    def test_nothing_can_end_the_block_or_turn_the_text_round(self) -> None:
        text = shown({"a": "`" * 3 + "\u202egpj.exe\u200b\u2028\U000e0041\x07"})
        self.assertFalse(set("`\u202e\u200b\u2028\U000e0041\x07") & set(text))
        self.assertIn("\\u202egpj.exe", text)

    def test_it_is_of_bounded_length_and_says_what_is_left_out(self) -> None:
        text = shown({"a": "x" * 100_000})
        self.assertLess(len(text), LONGEST + 60)
        self.assertRegex(text, r"… and 97,\d{3} characters more$")
        deep: dict[str, object] = {}
        for _ in range(200):
            deep = {"a": deep}
        self.assertIn("…", shown(deep))

    def test_only_short_words_decide(self) -> None:
        for text, expected in (
            ("Yes.", ("approve", "")), (" okay ", ("approve", "")), ("always", ("approve", "always")),
            ("NO!", ("deny", "")),
            ("yes but not today", ("", "")), ("", ("", "")), ("y" * 10_000, ("", "")),
        ):  # fmt: skip
            self.assertEqual(decision(text), expected)
