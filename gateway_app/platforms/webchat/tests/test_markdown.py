from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).parent
SOURCE = HERE.parent / "static" / "webchat" / "markdown.js"
LIMIT_SECONDS = 60
"""Far beyond what any text here takes; a text on which the renderer does not come to an end is stopped by it."""


def interpreter() -> Any:
    import quickjs  # starts a thread

    context = quickjs.Context()
    context.set_time_limit(LIMIT_SECONDS)
    context.eval((HERE / "dom.js").read_text())
    context.eval(SOURCE.read_text().replace("export function", "function"))
    return context


class MarkdownCase(TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.javascript = interpreter()

    def render(self, text: str) -> str:
        """The elements that show `text`, written as HTML."""
        # Long strings come out whole only as JSON.
        return str(json.loads(self.javascript.eval(f"JSON.stringify(`${{render({json.dumps(text)})}}`)")))

    def shows(self, text: str, html: str) -> None:
        self.assertEqual(self.render(text), html)


class BlockTests(MarkdownCase):
    def test_paragraphs_and_line_breaks(self) -> None:
        self.shows("One\ntwo\n\nThree", "<p>One<br></br>two</p><p>Three</p>")

    def test_a_fence_keeps_its_text_as_it_is(self) -> None:
        figure = (
            '<figure class="code"><figcaption><span class="language">{}</span></figcaption>'
            "<pre><code>{}</code></pre></figure>"
        )
        self.shows(
            "```python\na = '*b*'\n\n  <i>\n```\nAfter",
            figure.format("python", "a = '*b*'\n\n  &lt;i&gt;") + "<p>After</p>",
        )
        self.shows("~~~\n```\n~~~", figure.format("text", "```"))
        self.shows("````\n```\n````", figure.format("text", "```"))

    def test_a_fence_that_is_still_being_written_is_code_already(self) -> None:
        self.assertIn("<code>a = 1\nb</code>", self.render("```\na = 1\nb"))

    def test_headings_stay_below_the_pages_own(self) -> None:
        self.shows("# One\n###### Six", '<h3 class="level-1">One</h3><h6 class="level-6">Six</h6>')

    def test_lists_nest(self) -> None:
        self.shows(
            "1. One\n2. Two\n   - a\n   - b\n3. Three",
            "<ol><li>One</li><li>Two<ul><li>a</li><li>b</li></ul></li><li>Three</li></ol>",
        )

    def test_a_list_may_begin_anywhere_and_hold_paragraphs_and_code(self) -> None:
        self.assertTrue(self.render("3. Three").startswith('<ol start="3">'))
        html = self.render("- One\n\n  More\n\n  ```\n  code\n  ```\n- Two")
        self.assertIn("<code>code</code>", html)
        self.assertIn("<p>More</p>", html)
        self.assertEqual(html.count("<li>"), 2)

    def test_a_year_at_the_beginning_of_a_line_makes_no_list(self) -> None:
        self.shows("It was in\n1986. A good year", "<p>It was in<br></br>1986. A good year</p>")

    def test_a_table(self) -> None:
        html = self.render("| A | B |\n|---|--:|\n| 1 | 2 |\n| x \\| y | `z` |")
        self.assertIn('<th>A</th><th class="right">B</th>', html)
        self.assertIn('<td>1</td><td class="right">2</td>', html)
        self.assertIn("<td>x | y</td>", html)

    def test_quotes_and_rules(self) -> None:
        self.shows(
            "> One\n> > Two\n\n---", "<blockquote><p>One</p><blockquote><p>Two</p></blockquote></blockquote><hr></hr>"
        )


class InlineTests(MarkdownCase):
    def test_emphasis(self) -> None:
        self.shows(
            "**a** *b* __c__ _d_ ~~e~~ ***f*** **a *b***",
            "<p><strong>a</strong> <em>b</em> <strong>c</strong> <em>d</em> <del>e</del>"
            " <strong><em>f</em></strong> <strong>a <em>b</em></strong></p>",
        )

    def test_what_only_looks_like_emphasis_stays(self) -> None:
        for text in ("2 * 3 * 4", "snake_case_name", "a ** b", "*", "**", "a*", "* *", "2*3"):
            with self.subTest(text):
                self.assertEqual(re.sub("<[^>]*>", "", self.render("x " + text)), "x " + text)

    def test_code_spans_keep_their_text(self) -> None:
        self.shows("`*a*` ``b`c`` `d", "<p><code>*a*</code> <code>b`c</code> `d</p>")

    def test_a_backslash_takes_the_meaning_away(self) -> None:
        self.shows(r"\*a\* \`b\` \\", "<p>*a* `b` \\</p>")

    def test_links(self) -> None:
        self.shows(
            '[**a**](https://a.example/x_(y)_z "t") <https://b.example> https://c.example/d_e_f. (https://f.example)',
            '<p><a href="https://a.example/x_(y)_z">**a**</a> <a href="https://b.example">https://b.example</a>'
            ' <a href="https://c.example/d_e_f">https://c.example/d_e_f</a>.'
            ' (<a href="https://f.example">https://f.example</a>)</p>',
        )


class SafetyTests(MarkdownCase):
    def test_markup_in_a_text_stays_text(self) -> None:
        self.shows("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>")

    def test_only_addresses_that_run_nothing_become_links(self) -> None:
        for url in (
            "javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", "\x01javascript:alert(1)",
            "data:text/html,x", "vbscript:x", "file:///etc/passwd", "//evil.example", "/admin/", "#x", "blob:x",
        ):  # fmt: skip
            for text in (f"[a]({url})", f"[a](<{url}>)", f"<{url}>", f"![a]({url})"):
                with self.subTest(text):
                    self.assertNotIn("href", self.render(text))

    def test_a_picture_is_a_link_and_is_not_fetched(self) -> None:
        html = self.render("![a](https://a.example/x.png)")
        self.assertIn('<a href="https://a.example/x.png">a</a>', html)
        self.assertNotIn("<img", html)

    def test_links_open_elsewhere_without_telling_where_from(self) -> None:
        found = self.javascript.eval(
            "const made = render('<https://a.example>').firstElementChild.firstElementChild;"
            "JSON.stringify([made.target, made.rel])"
        )
        self.assertEqual(json.loads(found), ["_blank", "noopener noreferrer nofollow"])

    def test_texts_made_to_be_slow_come_to_an_end(self) -> None:
        many = 8_000
        for text in (
            "*a " * many, "**a " * many, "_a " * many, "~~a " * many, "`a``b" * many, "[" * many, "[a](" * many,
            "![" * many, "<https://" * many, "> " * many, "- " * many, "  " * many + "- a", "|" * many + "\n|-|",
            "# " + " " * many + "x", "```" + "a" * many + "`", "- " * 50 + "\n" * many, "*" * many, "_" * many,
            "a" * many + "\n" + "-|" * many, "- - " * many + "x", "https://" * many, "\\" * many,
        ):  # fmt: skip
            with self.subTest(text[:12]):
                self.assertTrue(self.render(text))

    @given(st.text(alphabet="ab *_~`[]()<>!#-+|\\\n1.>h:/", max_size=200))
    def test_no_text_breaks_it_and_no_word_is_lost(self, text: str) -> None:
        shown = re.sub("<[^>]*>", "", self.render(text.replace("`", "").replace("~", "")))
        self.assertEqual(shown.count("a"), text.count("a"))

    @given(st.text(max_size=200))
    def test_any_characters_can_be_shown(self, text: str) -> None:
        self.render(text)
