from __future__ import annotations

from typing import Any
from unittest import TestCase

from hypothesis import example, given
from hypothesis import strategies as st

from gateway_app.platforms.splitting import utf16_length
from gateway_app.platforms.telegram.formatting import MOST_ENTITIES, formatted

MARKERS = {"code": ("`", "`"), "bold": ("**", "**")}

marked = st.lists(
    st.one_of(
        st.sampled_from(["`", "``", "```", "```py\n", "\n```\n", "\n", "**", "*", " ", "😀", "x", "_", "a b", "2**3"]),
        st.text(max_size=5),
    ),
    max_size=25,
).map("".join)


def units(text: str, start: int, end: int) -> str:
    return text.encode("utf-16-le", "surrogatepass")[start * 2 : end * 2].decode("utf-16-le", "surrogatepass")


def restored(text: str, entities: list[dict[str, Any]]) -> str:
    """`text` with the markers put back."""
    found, done = "", 0
    for entity in entities:
        opening, closing = MARKERS.get(entity["type"]) or (f"```{entity.get('language', '')}\n", "\n```")
        end = entity["offset"] + entity["length"]
        found += units(text, done, entity["offset"]) + opening + units(text, entity["offset"], end) + closing
        done = end
    return found + units(text, done, utf16_length(text))


class EveryText(TestCase):
    @given(marked)
    @example("😀 **b** `c`\n```py\nprint('😀')\n```\nend")
    def test_can_be_put_back_together_from_what_is_shown(self, source: str) -> None:
        shown = formatted(source)
        self.assertEqual(restored(shown.text, shown.entities), source)
        end = 0
        for entity in shown.entities:
            self.assertGreaterEqual(entity["offset"], end)
            end = entity["offset"] + entity["length"]
            self.assertTrue(units(shown.text, entity["offset"], end).strip())


class Formatting(TestCase):
    def shown(self, source: str) -> list[tuple[str, str]]:
        found = formatted(source)
        return [
            (entity["type"], units(found.text, entity["offset"], entity["offset"] + entity["length"]))
            for entity in found.entities
        ]

    def test_a_code_block_becomes_one_with_its_language(self) -> None:
        found = formatted("See:\n```python\nif x:\n\n    print(`1`)\n```\nDone.")
        self.assertEqual(found.text, "See:\nif x:\n\n    print(`1`)\nDone.")
        self.assertEqual(found.entities, [{"type": "pre", "language": "python", "offset": 5, "length": 21}])

    def test_inline_code_and_bold_are_shown_as_such(self) -> None:
        self.assertEqual(
            self.shown("**Run** `ls -l`, then (**stop**)."), [("bold", "Run"), ("code", "ls -l"), ("bold", "stop")]
        )

    def test_offsets_count_utf16_units(self) -> None:
        self.assertEqual(formatted("😀 **b**").entities, [{"type": "bold", "offset": 3, "length": 1}])

    def test_what_is_no_marker_stays_as_it_is(self) -> None:
        for source in (
            "2**3**4", "x**2 + y**2", "** not bold **", "****", "*one*", "a ` b", "``two``", "```\n\n```",
            "```py\nopen", "text ```py\nx\n```", "snake_case_name", "**a\nb**", "",
        ):  # fmt: skip
            with self.subTest(source):
                self.assertEqual((formatted(source).text, formatted(source).entities), (source, []))

    def test_more_entities_than_telegram_takes_leave_the_text_as_it_is(self) -> None:
        source = "`a` " * MOST_ENTITIES
        self.assertEqual(len(formatted(source).entities), MOST_ENTITIES)
        source += "`a`"
        self.assertEqual((formatted(source).text, formatted(source).entities), (source, []))

    def test_a_long_hostile_text_takes_no_long_time(self) -> None:
        for source in (
            "```\n" + "a\n" * 2000,
            "**" + "a " * 2000,
            "`" * 4000,
            "```\n" * 1000,
            "**a" * 1300,
            "``` \n" * 800,
        ):
            formatted(source)
