"""Whatever people do, wherever, and whoever answers: nobody's agent sees what is not theirs; and each filter counts."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from unittest import mock

from django.test import override_settings
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from gateway_app.agent import memory
from gateway_app.agent.memory import Note, Owner
from gateway_app.agent.tools import todo, tool_output
from gateway_app.config.schema import mcp as mcp_schema
from gateway_app.delivery import targets
from gateway_app.mcp import pool
from gateway_app.mcp.tests.case import PEERS, START_SECONDS
from gateway_app.models import (
    InboundMessage,
    MemoryNote,
    OutboundPart,
    Session,
    TodoList,
    ToolOutput,
    TranscriptMessage,
    Turn,
    TurnStep,
)  # fmt: skip
from gateway_app.models.inbox import BusyMode
from gateway_app.models.memory import MemoryScope
from gateway_app.models.turn import StepKind
from gateway_app.sessions import history, lineage, own, search
from gateway_app.sessions.source import SessionSource
from gateway_app.statements import Sql, Statement
from gateway_app.turns import journal, opening, steering
from gateway_app.turns.journal import Step
from gateway_app.turns.waiting import Waiting
from gateway_app.worker.database import close_database_threads
from honcho_app import client as honcho
from honcho_app import manager, managers
from honcho_app import opening as opened
from tests.configuration import configured
from tests.isolation import COMMANDS, DM, GROUP, RUNS, SERVED, TALK, THREAD, Crossed, Who, Workers, World, place_of
from tests.peers.honcho import HonchoPeer
from tests.pipeline_case import PipelineTestCase

WORK = "work"
ABANDON = "abandon"
ANN, BOB = (0, DM), (1, DM)

whos = st.tuples(st.integers(0, 1), st.integers(0, 3))


@override_settings(TOOL_RESULT_MAX_CHARS=500)
class IsolationCase(PipelineTestCase):
    def setUp(self) -> None:
        super().setUp()
        chats = [f"recording:{place_of(SERVED, number=number)['chat_id']}" for number in range(RUNS)]
        server = {"command": sys.executable, "args": [str(PEERS / "mcp_misfit.py")], "platforms": chats}
        known = (*mcp_schema.PLATFORMS, self.platform.name)
        self.enterContext(mock.patch.object(mcp_schema, "PLATFORMS", known))
        self.memory = self.enterContext(HonchoPeer())
        for forget in (managers.shut_down_all, opened.forget_opened, honcho.close):
            forget()
            self.addCleanup(forget)
        limits = {"read_timeout_seconds": 30, "write_timeout_seconds": 30}
        self.enterContext(
            configured(mcp={"servers": {"misfit": server}}, honcho={"base_url": self.memory.url, **limits})
        )
        self.enterContext(mock.patch.object(pool, "FIRST_WAIT_SECONDS", START_SECONDS))
        self.workers = Workers()
        self.addCleanup(close_database_threads)
        self.addCleanup(self.workers.close)
        self.numbers = itertools.count()

    def world(self) -> World:
        return World(number=next(self.numbers), workers=self.workers, model=self.model, platform=self.platform)


class IsolationTests(IsolationCase):
    def test_nobody_and_no_agent_sees_what_is_not_theirs_whoever_answers(self) -> None:
        test = self

        class Conversations(RuleBasedStateMachine):
            def __init__(self) -> None:
                super().__init__()
                self.world = test.world()

            @rule(who=whos, deed=st.sampled_from(TALK), pick=st.integers(0, 30))
            def talk(self, who: Who, deed: str, pick: int) -> None:
                self.world.write(who, deed, pick)

            @rule(who=whos, deed=st.sampled_from(COMMANDS), pick=st.integers(0, 30))
            def command(self, who: Who, deed: str, pick: int) -> None:
                self.world.write(who, deed, pick)

            @rule()
            def work(self) -> None:
                self.world.work()

            @rule(who=whos)
            def abandon(self, who: Who) -> None:
                self.world.abandon(who)

            def teardown(self) -> None:
                self.world.work()
                self.world.end()

        run_state_machine_as_test(
            Conversations,
            settings=settings(
                max_examples=25,
                stateful_step_count=30,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],  # what is left behind of a failure would spoil smaller ones
                suppress_health_check=list(HealthCheck),
            ),
        )
        self.assertGreater(self.model.stats["calls"], 30)


# Each scope filter, taken out: what stands in its place, and what people do then until somebody sees too much.


def everybodys_sessions(key: str) -> Any:
    return Session.objects.order_by("-id")


def everybodys_messages(scope: search.Scope | None) -> Sql:
    return Sql("m.undo_id IS NULL")


def a_persons_messages(context: Any) -> search.Scope:
    place = {name: getattr(context, name) for name in ("session_key", "platform", "account", "user_id")}
    return search.Scope(**place)


def one_owner(context: Any, *, scope: MemoryScope | None) -> Owner:
    return Owner(MemoryScope.USER, "everybody")


def the_person(context: Any, *, scope: MemoryScope | None) -> Owner:
    return Owner(MemoryScope.USER, context.user_id)


def everybodys_notes(whose: Owner) -> list[Note]:
    return [Note(*row) for row in MemoryNote.objects.values_list("place", "text")]


def the_newest_list(*, session_id: str) -> list[Any]:
    row = TodoList.objects.order_by("-id").first()
    return list(row.items) if row else []


def everybodys_output(*, session_id: str, reference: str, offset: int, length: int) -> tuple[str, int] | None:
    found = ToolOutput.objects.filter(reference=reference).first()
    return (found.text, len(found.text)) if found else None


def everybodys_history(**values: Any) -> Statement:
    found = READING(**values)
    return Statement(found.sql.replace("session_id = %s", "session_id > 0 * %s"), found.values)


def everybodys_stretches(session: Session) -> list[Any]:
    return [TranscriptMessage.objects.filter(undo=None).order_by("-id")]


def everybodys_steps(*, turn_id: int) -> list[Step]:
    found = TurnStep.objects.order_by("id").values_list("kind", "payload")
    return [Step(StepKind(kind), payload) for kind, payload in found]


def everybodys_waiting(lane: Sql) -> Statement:
    found = READING_OPEN(lane)
    return Statement(
        found.sql.replace("lane_id = (", "0 < (").replace("AND state", "AND turn_id IS NULL AND state"), found.values
    )


def everybodys_joining(*, lane_id: int, participant: str) -> list[Waiting]:
    return [
        Waiting(row.pk, SessionSource.from_json(row.source), row.asks or row.text, "", BusyMode.STEER)
        for row in InboundMessage.objects.filter(state="waiting", busy_mode="steer").order_by("seq")
    ]


def everybodys_chats(context: Any) -> list[targets.Target]:
    places = Session.objects.values_list("platform", "account", "chat_id", "thread_id").distinct()
    return [targets.Target(name=targets._name(place), kind="", title="", place=place) for place in places]


def one_peer(who: Any, config: Any) -> str:
    return "everybody"


READING, READING_OPEN = history.reading, opening._reading_open_messages


class Filter(NamedTuple):
    """A filter, what stands in its place, and what people do until somebody has seen too much."""

    owner: Any
    name: str
    without: Callable[..., Any]
    deeds: Sequence[Any]
    """Who does what, one after the other. A list is done while the agent works on what came before it."""


FILTERS = (
    Filter(own, "_of_key", everybodys_sessions, [(BOB, "title"), WORK, (ANN, "sessions")]),
    Filter(search, "_where", everybodys_messages, [(BOB, "say"), WORK, (ANN, "search for theirs")]),
    Filter(search, "scope_of", a_persons_messages, [(ANN, "say"), WORK, ((0, GROUP), "search")]),
    Filter(memory, "owner", one_owner, [(BOB, "note"), WORK, (ANN, "notes")]),
    Filter(memory, "owner", the_person, [(ANN, "note"), WORK, ((0, GROUP), "notes")]),
    Filter(memory, "notes", everybodys_notes, [(BOB, "note here"), WORK, (ANN, "notes here")]),
    Filter(todo, "read", the_newest_list, [(BOB, "do"), WORK, (ANN, "to do")]),
    Filter(tool_output, "read", everybodys_output, [(BOB, "do"), WORK, (ANN, "read on")]),
    Filter(history, "reading", everybodys_history, [(BOB, "say"), WORK, (ANN, "say")]),
    Filter(lineage, "stretches", everybodys_stretches, [((0, THREAD), "say"), WORK, (ANN, "retry")]),
    Filter(journal, "load", everybodys_steps, [(BOB, "say"), WORK, (ANN, "say"), ABANDON]),
    Filter(opening, "_reading_open_messages", everybodys_waiting, [((0, THREAD), "say"), (ANN, "say")]),
    Filter(steering, "to_steer", everybodys_joining, [((0, GROUP), "to do"), [((0, GROUP), "say"), (ANN, "steer")]]),
    Filter(targets, "permitted", everybodys_chats, [(BOB, "say"), WORK, (ANN, "send to them")]),
    Filter(manager, "peer_name", one_peer, [(BOB, "conclude"), WORK, (ANN, "conclusions")]),
    Filter(manager, "is_private", lambda context: True, [(ANN, "conclude"), WORK, ((0, GROUP), "conclusions")]),
    Filter(manager, "is_private", lambda context: True, [(ANN, "conclude"), WORK, ((0, GROUP), "recall")]),
    Filter(pool, "is_offered", lambda server, context: True, [(SERVED, "say"), WORK, (ANN, "ask the server")]),
)


class FilterTests(IsolationCase):
    def setUp(self) -> None:
        super().setUp()
        log = logging.getLogger("gateway_app.turns.runner")  # some filters are held by others, which then raise
        log.setLevel(logging.CRITICAL)
        self.addCleanup(log.setLevel, logging.NOTSET)

    def play(self, deeds: Sequence[Any]) -> None:
        world, who = self.world(), ANN
        for deed in deeds:
            if deed == WORK:
                world.work()
            elif deed == ABANDON:
                world.abandon(who)
            elif isinstance(deed, list):
                world.write_meanwhile(*deed)
            else:
                who = deed[0]
                world.write(*deed)
        world.work()
        world.end()

    def test_each_filter_that_is_taken_out_is_missed(self) -> None:
        for number, missing in enumerate(FILTERS):
            with self.subTest(number=number, filter=f"{missing.owner.__name__}.{missing.name}"):
                self.play(missing.deeds)
                managers.shut_down_all()
                with mock.patch.object(missing.owner, missing.name, missing.without), self.assertRaises(AssertionError):
                    self.play(missing.deeds)
            managers.shut_down_all()
            # What a run that failed has left, the next one must not find.
            InboundMessage.objects.exclude(state="done").update(state="done", turn=None)
            Turn.objects.filter(state="running").update(state="done")
            OutboundPart.objects.filter(state="waiting").update(state="discarded")

    def test_whose_group_it_is_counts(self) -> None:
        with override_settings(GROUP_SESSIONS_PER_USER=False), self.assertRaises(Crossed):
            self.play([((0, GROUP), "say"), WORK, ((1, GROUP), "say")])
