"""The decision: its table, its layers in every combination, and what no set of facts may ever bring about."""

from __future__ import annotations

import itertools
from typing import Any

from django.test import SimpleTestCase
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_app.access.decision import Facts, Ground, PlatformFacts, RuleFact, RuleKey, decide
from gateway_app.models.access import Origin
from gateway_app.sessions.source import ChatType, SessionSource
from tests.dear import dear

from .decision_table import NOW, ONLY_ANN, TABLE, TOMORROW, YESTERDAY, rule

IDS = st.sampled_from(["7", "8", "uuid", "*", "-100", "a:b", ""])
PLATFORMS = st.sampled_from(["telegram", "webchat"])
ID_SETS = st.frozensets(IDS.filter(bool), max_size=3)
KEYS = st.tuples(
    st.sampled_from(["allow", "deny"]), st.sampled_from(["user", "chat"]), st.sampled_from(["telegram", "webchat", ""]),
    IDS.filter(bool),
)  # fmt: skip
ROWS = st.builds(
    RuleFact,
    row_id=st.integers(1, 9),
    origin=st.sampled_from([Origin.MANUAL.value, Origin.PAIRING.value]),
    expires_at=st.sampled_from([None, YESTERDAY, TOMORROW]),
)
SOURCES = st.builds(
    SessionSource,
    platform=PLATFORMS,
    chat_id=IDS,
    chat_type=st.sampled_from(list(ChatType)),
    user_id=IDS,
    user_id_alt=IDS,
    user_name=IDS,
    is_bot=st.booleans(),
    is_mention=st.booleans(),
)
PLATFORM_FACTS = st.builds(
    PlatformFacts,
    allowed_users=ID_SETS,
    allow_all_users=st.booleans(),
    allow_bots=st.sampled_from(["none", "mentions", "all"]),
    dm_policy=st.sampled_from(["pairing", "allowlist", "open", "disabled"]),
    group_policy=st.sampled_from(["allowlist", "open", "disabled"]),
    allow_from=ID_SETS,
    group_allow_from=ID_SETS,
    group_allowed_chats=ID_SETS,
)
FACTS = st.builds(
    Facts,
    platforms=st.dictionaries(PLATFORMS, PLATFORM_FACTS),
    allowed_users=ID_SETS,
    allow_all_users=st.booleans(),
    rules=st.dictionaries(KEYS, ROWS, max_size=8),
)


class TableTests(SimpleTestCase):
    def test_each_row_of_the_table_is_decided_as_it_says(self) -> None:
        for row in TABLE:
            with self.subTest(row.sentence()):
                decision = decide(row.asked(), row.facts(), at=NOW)
                self.assertEqual((decision.is_allowed, decision.ground), (row.is_allowed, row.ground))

    def test_no_two_rows_say_the_same(self) -> None:
        self.assertEqual(len({row.sentence() for row in TABLE}), len(TABLE))

    def test_every_layer_has_a_row(self) -> None:
        self.assertEqual({row.ground for row in TABLE}, set(Ground))

    def test_a_decision_names_the_setting_or_the_row_that_made_it(self) -> None:
        neither = {Ground.NOTHING, Ground.NO_ID, Ground.BOT}
        for row in TABLE:
            decision = decide(row.asked(), row.facts(), at=NOW)
            with self.subTest(row.sentence()):
                self.assertEqual(bool(decision.setting or decision.rule_id), decision.ground not in neither)
                self.assertIn(decision.setting, decision.rule)


LAYERS: list[tuple[Ground, bool, dict[str, Any], dict[str, Any]]] = [
    (Ground.BANNED, False, {}, {"rules": rule("deny")}),
    (Ground.CHATS_DISABLED, False, {"dm_policy": "disabled", "group_policy": "disabled"}, {}),
    (Ground.CHAT_ALLOWED, True, {"group_allowed_chats": frozenset({"-100"})}, {}),
    (Ground.PLATFORM_ALLOW_ALL, True, {"allow_all_users": True}, {}),
    (Ground.PAIRED, True, {}, {"rules": rule(origin=Origin.PAIRING.value)}),
    (Ground.CHATS_OPEN, True, {"dm_policy": "open", "group_policy": "open"}, {}),
    (Ground.PLATFORM_LIST, True, {"allowed_users": ONLY_ANN}, {}),
    (Ground.ALLOWED, True, {}, {"rules": rule(platform="")}),
    (Ground.GATEWAY_LIST, True, {}, {"allowed_users": ONLY_ANN}),
    (Ground.GATEWAY_ALLOW_ALL, True, {}, {"allow_all_users": True}),
]
"""The layers in their order, each with what sets it for person 7; chat lists are for groups only."""


class LayerTests(SimpleTestCase):
    def test_in_every_combination_the_first_layer_that_is_set_decides(self) -> None:
        """All 2,048 combinations of layers and chats, against the order written down above."""
        for present in itertools.product([False, True], repeat=len(LAYERS)):
            chosen = [layer for layer, is_set in zip(LAYERS, present, strict=True) if is_set]
            if {Ground.CHATS_DISABLED, Ground.CHATS_OPEN} <= {layer[0] for layer in chosen}:
                continue  # one setting cannot say both
            platform: dict[str, Any] = {}
            gateway: dict[str, Any] = {"rules": {}}
            for _, _, of_platform, of_gateway in chosen:
                platform |= of_platform
                gateway |= of_gateway | {"rules": gateway["rules"] | of_gateway.get("rules", {})}
            for chat_type, chat_id in ((ChatType.DM, "7"), (ChatType.GROUP, "-100")):
                fitting = [
                    layer for layer in chosen if layer[0] is not Ground.CHAT_ALLOWED or chat_type is ChatType.GROUP
                ]
                expected = (fitting[0][1], fitting[0][0]) if fitting else (False, Ground.NOTHING)
                asked = SessionSource(platform="telegram", chat_id=chat_id, chat_type=chat_type, user_id="7")
                facts = Facts(platforms={"telegram": PlatformFacts(**platform)}, **gateway)
                decision = decide(asked, facts, at=NOW)
                self.assertEqual((decision.is_allowed, decision.ground), expected, [layer[0] for layer in chosen])


@dear
class PropertyTests(SimpleTestCase):
    @settings(max_examples=600)
    @given(SOURCES, FACTS, KEYS, ROWS)
    def test_a_further_ban_never_lets_anybody_in(
        self, source: SessionSource, facts: Facts, key: RuleKey, row: RuleFact
    ) -> None:
        ban = ("deny", *key[1:])
        banned = Facts(
            platforms=facts.platforms, allowed_users=facts.allowed_users, allow_all_users=facts.allow_all_users,
            rules={**facts.rules, ban: row} if ban not in facts.rules else facts.rules,
        )  # fmt: skip
        if decide(source, banned, at=NOW).is_allowed:
            self.assertTrue(decide(source, facts, at=NOW).is_allowed)

    @settings(max_examples=600)
    @given(SOURCES, FACTS, st.data())
    def test_an_allowance_taken_back_never_lets_anybody_in(
        self, source: SessionSource, facts: Facts, data: st.DataObject
    ) -> None:
        fewer = data.draw(st.sampled_from(_with_one_allowance_less(facts)))
        if decide(source, fewer, at=NOW).is_allowed:
            self.assertTrue(decide(source, facts, at=NOW).is_allowed)

    @settings(max_examples=300)
    @given(SOURCES, FACTS, st.randoms())
    def test_the_order_of_the_facts_changes_nothing(self, source: SessionSource, facts: Facts, random: Any) -> None:
        shuffled = list(facts.rules.items())
        random.shuffle(shuffled)
        other = Facts(
            platforms=dict(reversed(list(facts.platforms.items()))),
            allowed_users=frozenset(sorted(facts.allowed_users)),
            allow_all_users=facts.allow_all_users,
            rules=dict(shuffled),
        )
        self.assertEqual(decide(source, facts, at=NOW), decide(source, other, at=NOW))

    @settings(max_examples=300)
    @given(SOURCES)
    def test_without_facts_nobody_is_let_in(self, source: SessionSource) -> None:
        self.assertFalse(decide(source, Facts(), at=NOW).is_allowed)

    @settings(max_examples=300)
    @given(SOURCES, FACTS, st.text(max_size=10))
    def test_names_decide_nothing(self, source: SessionSource, facts: Facts, name: str) -> None:
        renamed = SessionSource.from_json(source.to_json() | {"user_name": name, "chat_name": name})
        self.assertEqual(decide(source, facts, at=NOW), decide(renamed, facts, at=NOW))


def _with_one_allowance_less(facts: Facts) -> list[Facts]:
    """`facts`, and all that can be made of it by taking one allowance back."""

    def changed(**values: Any) -> Facts:
        return Facts(
            **{name: getattr(facts, name) for name in ("platforms", "allowed_users", "allow_all_users", "rules")}
            | values
        )

    found = [facts, changed(allow_all_users=False)]
    found += [changed(allowed_users=facts.allowed_users - {name}) for name in sorted(facts.allowed_users)]
    for key in facts.rules:
        if key[0] == "allow":
            found.append(changed(rules={other: row for other, row in facts.rules.items() if other != key}))
    for name, platform in facts.platforms.items():
        values = {field: getattr(platform, field) for field in PlatformFacts.__dataclass_fields__}
        lesser = [values | {"allow_all_users": False}, values | {"allow_bots": "none"}]
        lesser += [values | {"dm_policy": "allowlist"}] if platform.dm_policy == "open" else []
        lesser += [values | {"group_policy": "allowlist"}] if platform.group_policy == "open" else []
        for field in ("allowed_users", "allow_from", "group_allow_from", "group_allowed_chats"):
            lesser += [values | {field: values[field] - {item}} for item in sorted(values[field])]
        found += [changed(platforms={**facts.platforms, name: PlatformFacts(**less)}) for less in lesser]
    return found
