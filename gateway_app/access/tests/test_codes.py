"""Pairing codes: what they are made of, how they are read, and what is kept of them."""

from __future__ import annotations

import hashlib

from django.test import SimpleTestCase

from gateway_app.access import codes


class CodeTests(SimpleTestCase):
    def test_a_code_has_eight_characters_that_nobody_takes_for_each_other(self) -> None:
        self.assertEqual((codes.ALPHABET, codes.LENGTH), ("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", 8))
        found = {codes.new_code() for _ in range(500)}
        self.assertEqual(len(found), 500)
        self.assertEqual({len(code) for code in found}, {8})
        self.assertEqual(set("".join(found)), set(codes.ALPHABET))

    def test_the_hash_is_salted_and_each_salt_is_another(self) -> None:
        salt, other = codes.new_salt(), codes.new_salt()
        self.assertEqual((len(salt), salt == other), (32, False))
        self.assertEqual(
            codes.hashed("ABCD2345", salt=salt), hashlib.sha256(bytes.fromhex(salt) + b"ABCD2345").hexdigest()
        )
        self.assertTrue(codes.matches("ABCD2345", salt=salt, digest=codes.hashed("ABCD2345", salt=salt)))
        self.assertFalse(codes.matches("ABCD2345", salt=other, digest=codes.hashed("ABCD2345", salt=salt)))

    def test_a_code_is_read_in_any_case_and_with_anything_that_separates(self) -> None:
        for text in (
            "ABCD2345", "abcd2345", " AbCd 2345\n", "abcd-2345", "AB_CD.23/45", "`ABCD2345`", "“ABCD2345”",
            "ABCD\u201323\u200b45", "\ufeffA B C D 2 3 4 5\u00a0",
        ):  # fmt: skip
            with self.subTest(text):
                self.assertEqual(codes.normalised(text), "ABCD2345")

    def test_what_only_looks_like_a_code_is_refused_with_the_character_that_gives_it_away(self) -> None:
        for text, words in {
            "ABCD2340": "'0'",
            "ABCDO234": "'O'",
            "ABC1I345": "'1', 'I'",
            "\u0410BCD2345": "CYRILLIC CAPITAL LETTER A",
            "ABCD234\u0665": "ARABIC-INDIC DIGIT FIVE",
            "\uff21BCD2345": "FULLWIDTH LATIN CAPITAL LETTER A",
            "ABCD23\u00df5": "LATIN SMALL LETTER SHARP S",
            "0" * 5 + "1" * 5 + "\u0131" * 5 + "io": "…",
        }.items():
            with self.subTest(text), self.assertRaisesRegex(codes.BadCode, words):
                codes.normalised(text)

    def test_a_text_of_another_length_is_refused_without_being_repeated(self) -> None:
        for text in ("", " - ", "ABCD234", "ABCD23456", "ABCD" * 2500):
            with self.subTest(text[:20]), self.assertRaisesRegex(codes.BadCode, "characters; allowed: 8") as caught:
                codes.normalised(text)
            self.assertNotIn("ABCD", str(caught.exception))
