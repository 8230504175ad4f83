"""What must hold whatever the ids, and whatever the order in which claims, expiries, crashes and rings come."""

from __future__ import annotations

import contextlib
from typing import Any

from django.test import SimpleTestCase
from django.utils import timezone
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from gateway_app import lanes
from gateway_app.models import InboundMessage, Lane, OutboundPart
from gateway_app.models.turn import TurnState
from gateway_app.sessions.key import delivery_key, escape, is_per_user, session_key
from gateway_app.sessions.source import ChatType, SessionSource
from gateway_app.turns.closing import Outcome, close
from gateway_app.turns.opening import OpenTurn, claim_and_open, give_up_early
from tests import pipeline

# Ids made mostly of what means something in a key, so that collisions would be found.
ids = st.one_of(
    st.text(alphabet=":=%~-ab", max_size=8),
    st.text(max_size=8),
    st.sampled_from(["user=a", "a:user=b", "thread=t", "x" * 300, "x" * 301, "\ud800", ""]),
)
sources = st.builds(
    SessionSource,
    platform=ids.filter(bool),
    account=ids,
    chat_id=ids,
    chat_type=st.sampled_from(ChatType),
    thread_id=ids,
    user_id=ids,
    user_id_alt=ids,
)


def routed(source: SessionSource) -> tuple[str, ...]:
    """What decides on the session of a source."""
    person = source.participant if is_per_user(source) else ""
    return (source.platform, source.account, source.chat_type.value, source.chat_id, source.thread_id, person)


class KeyProperties(SimpleTestCase):
    @given(sources, sources)
    @settings(max_examples=1000)
    def test_two_sources_share_a_session_only_if_nothing_that_routes_them_differs(
        self, one: SessionSource, other: SessionSource
    ) -> None:
        # Seen to fail with escape() returning its component as it is.
        self.assertEqual(session_key(one) == session_key(other), routed(one) == routed(other))

    @given(sources, st.sampled_from(["platform", "account", "chat_id", "thread_id"]), ids)
    @settings(max_examples=500)
    def test_another_id_is_another_session(self, one: SessionSource, name: str, value: str) -> None:
        assume(getattr(one, name) != value and (value or name != "platform"))
        values = {**one.to_json(), name: value}
        self.assertNotEqual(session_key(one), session_key(SessionSource(**values)))

    @given(st.tuples(ids, ids, ids), st.tuples(ids, ids, ids))
    @settings(max_examples=500)
    def test_two_chats_never_share_a_delivery_lane(self, one: tuple[str, ...], other: tuple[str, ...]) -> None:
        def key(place: tuple[str, ...]) -> str:
            return delivery_key(platform=place[0], account=place[1], chat_id=place[2])

        self.assertEqual(key(one) == key(other), one == other)

    @given(sources)
    def test_a_key_fits_its_column_and_is_plain(self, source: SessionSource) -> None:
        key = session_key(source)
        self.assertLessEqual(len(key), Lane._meta.get_field("key").max_length)
        self.assertTrue(key.isascii() and key.isprintable())
        self.assertTrue(key.startswith("agent:main:"))

    @given(ids)
    def test_an_escaped_component_holds_no_separator(self, component: str) -> None:
        self.assertFalse(set(escape(component)) & {":", "="})


WORKERS = range(3)
OFTEN = 3
"""Times that a step is as likely as others: without many rings, commits and ended leases few interleavings overtake."""
steps = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.integers(1, 3)),
        *[st.tuples(st.just(name), st.sampled_from(WORKERS)) for name in ["ring", "commit"] * OFTEN],
        *[st.tuples(st.sampled_from(["crash", "hand back"]), st.sampled_from(WORKERS))],
        *[st.tuples(st.just("expire"), st.just(0))] * OFTEN,
    ),
    min_size=10,
    max_size=60,
)


class LaneProperties(TestCase):
    """Three workers in any interleaving of rings, commits, crashes and ended leases over one session's lane."""

    def setUp(self) -> None:
        pipeline.use_recording_platform(self)

    @given(steps)
    @settings(max_examples=200)
    def test_every_message_is_answered_once_and_in_order(self, script: list[tuple[str, Any]]) -> None:
        # Seen to fail with the fence taken out of lanes.holding_or_releasing(), and of lanes.holding().
        self.accepted = 0
        self.turns: dict[int, OpenTurn | None] = dict.fromkeys(WORKERS)
        for name, argument in script:
            getattr(self, name.replace(" ", "_"))(argument)
        self.expire()
        while InboundMessage.objects.filter(state__in=("waiting", "running")).exists():
            self.turns[0] = None
            self.expire()
            self.ring(0)
            self.assertIsNotNone(self.turns[0])
            self.commit(0)
        answered = "\n\n".join(OutboundPart.objects.order_by("seq").values_list("text", flat=True)).split("\n\n")
        self.assertEqual([text for text in answered if text], [str(number) for number in range(self.accepted)])

    def accept(self, count: int) -> None:
        pipeline.accept(*[str(self.accepted + number) for number in range(count)])
        self.accepted += count

    def ring(self, worker: int) -> None:
        if self.turns[worker] is None:
            self.turns[worker] = claim_and_open(session_key=pipeline.context().session_key)

    def commit(self, worker: int) -> None:
        turn = self.turns[worker]
        if turn is None:
            return
        try:
            self.turns[worker] = close(turn, Outcome(state=TurnState.DONE, reply=turn.asked)).following
        except lanes.LaneLost:
            self.turns[worker] = None

    def hand_back(self, worker: int) -> None:
        turn, self.turns[worker] = self.turns[worker], None
        if turn:
            with contextlib.suppress(lanes.LaneLost):
                give_up_early(turn, wait=0)

    def crash(self, worker: int) -> None:
        """The worker is gone, or stopped: its lease stands until it ends."""
        self.turns[worker] = None

    def expire(self, _: int = 0) -> None:
        """Every lease ends; the workers do not know it yet."""
        Lane.objects.update(lease_until=timezone.now() - timezone.timedelta(seconds=1))
