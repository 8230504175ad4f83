"""The ladder: it comes to what `decide()` answers, and shows the layers that were not asked."""

from __future__ import annotations

from django.test import SimpleTestCase
from hypothesis import given, settings

from gateway_app.access.decision import Facts, PlatformFacts, decide
from gateway_app.access.ladder import deciding, ladder
from gateway_app.models.access import Origin
from gateway_app.sessions.source import ChatType, SessionSource

from .decision_table import NOW, TABLE, rule
from .test_decision import FACTS, SOURCES


class LadderTests(SimpleTestCase):
    def test_it_comes_to_what_each_row_of_the_table_says(self) -> None:
        for row in TABLE:
            with self.subTest(row.sentence()):
                decision = deciding(ladder(row.asked(), row.facts(), at=NOW))
                self.assertEqual(decision, decide(row.asked(), row.facts(), at=NOW))

    @settings(max_examples=500, deadline=None)
    @given(source=SOURCES, facts=FACTS)
    def test_it_agrees_with_the_decision_on_any_facts(self, source: SessionSource, facts: Facts) -> None:
        rungs = ladder(source, facts, at=NOW)
        found, expected = deciding(rungs), decide(source, facts, at=NOW)
        # Of two rows that are about the sender each has its rung; all else must be the same.
        self.assertEqual(found, expected)
        for rung in rungs:
            self.assertNotEqual(rung.decision is None, rung.remark == "")

    def test_what_else_would_let_the_person_in_stands_below_what_decides(self) -> None:
        source = SessionSource(platform="telegram", chat_id="7", chat_type=ChatType.DM, user_id="7", user_id_alt="uuid")
        facts = Facts(
            platforms={"telegram": PlatformFacts(allowed_users=frozenset({"7"}))},
            allow_all_users=True,
            rules={**rule("deny", name="7"), **rule(name="7"), **rule(name="uuid", origin=Origin.PAIRING.value)},
        )
        says = [rung.decision.rule for rung in ladder(source, facts, at=NOW) if rung.decision]
        expected = [
            "deny rule #1 (7 on telegram)",
            "TELEGRAM_ALLOWED_USERS",
            "allow rule #1 (7 on telegram)",
            "pairing #1 (uuid on telegram)",
            "GATEWAY_ALLOW_ALL_USERS",
            "nothing allows the sender",
        ]
        self.assertEqual(says, expected)
