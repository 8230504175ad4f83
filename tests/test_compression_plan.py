"""What a summary may stand for: never half an exchange, never the newest, and nothing that is not worth it."""

from __future__ import annotations

import itertools
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from gateway_app.sessions import history, tokens
from gateway_app.sessions.compression import Material
from gateway_app.sessions.compression_plan import Limits, Plan, plan
from gateway_app.sessions.history import Compressed, Message

SIZES = st.integers(0, 3000)
EXCHANGES = st.lists(st.tuples(SIZES, st.lists(SIZES, max_size=3), SIZES), min_size=0, max_size=30)
LIMITS = st.builds(
    Limits,
    tokens=st.integers(100, 8000),
    messages=st.integers(2, 100),
    protect_first=st.integers(0, 3),
    protect_last=st.integers(1, 12),
    is_needed=st.booleans(),
)


def transcript(exchanges: list[tuple[int, list[int], int]]) -> list[Message]:
    """Messages of exchanges, each of a question, the results of tools, and an answer, by their characters."""
    numbers = itertools.count(1)
    found: list[Message] = []

    def add(role: str, size: int, *, call: str = "", result: str = "") -> None:
        content = "x" * size
        calls = [{"id": call, "function": {"name": "look", "arguments": "{}"}}] if call else None
        found.append(Message(next(numbers), role, content, calls, result, tokens.estimate(content)))

    for place, (asked, results, answer) in enumerate(exchanges):
        add("user", asked)
        for number, size in enumerate(results):
            add("assistant", 0, call=f"{place}/{number}")
            add("tool", size, result=f"{place}/{number}")
        add("assistant", answer)
    return found


def compressed(made: Plan, known: Compressed | None) -> Compressed:
    """What the session has after the plan, with a summary as short as can be."""
    if made.middle:
        return Compressed(1, made.head_until, made.middle[-1].pk, made.pruned_until, "summary")
    known = known or Compressed(0)
    return known._replace(pk=1, pruned_until=made.pruned_until)


def seen(found: list[Message], known: Compressed | None) -> list[Message]:
    """What `history.reading()` finds."""
    has_summary = known and known.summary
    rows = [
        tuple(each)
        for each in found
        if not (known and has_summary) or each.pk > known.last_message or each.pk <= known.head_until
    ]
    return history.messages(rows[::-1], compressed=known)


class PlanTests(TestCase):
    def assert_whole(self, given: list[dict]) -> None:  # type: ignore[type-arg]  # plain JSON
        """Every call is followed by its result, and every result follows its call."""
        awaited: set[str] = set()
        for each in given:
            if each["role"] == "tool":
                self.assertIn(each["tool_call_id"], awaited)
                awaited.remove(each["tool_call_id"])
                continue
            self.assertFalse(awaited)
            awaited = {call["id"] for call in each.get("tool_calls", ())}
        self.assertFalse(awaited)

    @given(EXCHANGES, LIMITS, st.integers(0, 8000))
    def test_however_often_it_is_compressed_calls_keep_their_results_and_the_newest_stay(
        self, exchanges: list[tuple[int, list[int], int]], limits: Limits, budget: int
    ) -> None:
        known: Compressed | None = None
        for count in range(0, len(exchanges) + 1, 5):
            found = transcript(exchanges[:count])
            made = plan(Material(found[:60], seen(found, known)), compressed=known, limits=limits)
            if made:
                before = known
                known = compressed(made, known)
                self.assertGreaterEqual(known.last_message, before.last_message if before else 0)
                newest = max((each.pk for each in found if each.role == "user"), default=0)
                self.assertLess(max(known.last_message, known.pruned_until), newest)
            for size in (budget, 10**9):
                given_ = history.fitting(seen(found, known), budget=size, compressed=known)
                self.assert_whole(given_.messages)
                self.assertLessEqual(given_.tokens, size)
                if given_.messages:
                    self.assertEqual(given_.messages[0]["role"], "user")

    @given(EXCHANGES, LIMITS)
    def test_nothing_is_lost_between_beginning_summary_and_the_newest(
        self, exchanges: list[tuple[int, list[int], int]], limits: Limits
    ) -> None:
        found = transcript(exchanges)
        made = plan(Material(found[:60], found), compressed=None, limits=limits)
        if made and made.middle:
            middle = {each.pk for each in made.middle}
            rest = {each.pk for each in seen(found, compressed(made, None))}
            self.assertEqual(middle | rest, {each.pk for each in found})
            self.assertFalse(middle & rest)

    def limits(self, **values: int) -> Limits:
        return Limits(**{"tokens": 4000, "messages": 100, "protect_first": 1, "protect_last": 3, **values})

    def test_the_first_exchange_and_the_last_ones_stay(self) -> None:
        found = transcript([(400, [], 400)] * 20)
        made = plan(Material(found, found), compressed=None, limits=self.limits())
        assert made
        self.assertEqual(made.head_until, 2)
        self.assertEqual([each.pk for each in made.middle], list(range(3, 35)))

    def test_a_beginning_that_is_too_long_is_summed_up_too(self) -> None:
        found = transcript([(8000, [], 400), *[(400, [], 400)] * 20])
        made = plan(Material(found, found), compressed=None, limits=self.limits())
        assert made
        self.assertEqual((made.head_until, made.middle[0].pk), (0, 1))

    def test_old_results_are_left_out_first_and_no_summary_is_made_where_that_is_enough(self) -> None:
        found = transcript([(100, [9000], 100)] * 3 + [(100, [], 100)] * 3)
        made = plan(Material(found, found), compressed=None, limits=self.limits())
        assert made
        self.assertEqual((made.middle, made.pruned_until), ([], 12))
        given_ = history.fitting(seen(found, compressed(made, None)), budget=10**6).messages
        self.assertEqual(given_[2]["content"], "[An old tool result of 9,000 characters was left out here.]")
        self.assertEqual(len(given_), len(found))

    def test_little_is_left_alone_unless_it_is_needed(self) -> None:
        found = transcript([(100, [], 100)] * 8)
        self.assertIsNone(plan(Material(found, found), compressed=None, limits=self.limits()))
        self.assertIsNotNone(plan(Material(found, found), compressed=None, limits=self.limits(is_needed=True)))

    def test_many_short_messages_are_summed_up_as_well(self) -> None:
        found = transcript([(1, [], 1)] * 60)
        made = plan(Material(found, found), compressed=None, limits=self.limits(protect_last=10))
        assert made
        self.assertEqual(len(made.middle), 120 - 2 - 20)

    def test_one_exchange_is_never_summed_up(self) -> None:
        found = transcript([(100_000, [50_000], 100_000)])
        self.assertIsNone(plan(Material(found, found), compressed=None, limits=self.limits(is_needed=True)))
