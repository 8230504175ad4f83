"""Opens a session's next turn: takes what waits, or takes over the turn that a dead worker left."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

from django.db import transaction

from gateway_app import lanes
from gateway_app.agent import prompt, window
from gateway_app.agent.prompt import Pinned
from gateway_app.agent.tools import registry as tool_registry
from gateway_app.commands import invocation
from gateway_app.commands.invocation import Invocation
from gateway_app.lanes import Claim
from gateway_app.models import InboundMessage, Session, Turn
from gateway_app.models.inbox import InboundState
from gateway_app.models.lane import LaneKind
from gateway_app.models.turn import TurnState
from gateway_app.sessions import compression, history, tokens
from gateway_app.sessions.history import History
from gateway_app.sessions.key import is_shared
from gateway_app.sessions.routing import OpenSession, context_of, opened_sessions, reading_sessions
from gateway_app.sessions.source import SessionContext, SessionSource
from gateway_app.statements import Row, Sql, Statement, execute, insert

from . import journal

INBOX = InboundMessage._meta.db_table
SESSION = Session._meta.db_table
TURN = Turn._meta.db_table


@dataclass(frozen=True, slots=True)
class Waiting:
    """One open message of the lane."""

    row_id: int
    source: SessionSource
    text: str
    message_id: str

    @property
    def invocation(self) -> Invocation | None:
        """The command that the message is, if it is one."""
        return invocation.invoked(self.text, source=self.source)


@dataclass(slots=True)
class OpenTurn:
    """A turn that this worker runs: what was asked, by whom, and what is known so far."""

    claim: Claim
    turn_id: int
    attempts: int
    session_pk: int
    context: SessionContext
    source: SessionSource
    """Of the newest message answered."""
    invocation: Invocation | None
    """The command that is run instead of asking the model; nothing of it enters the transcript."""
    asked: str
    """The user's message as the model gets it: all that was waiting, as one."""
    reply_to: str
    """The platform's id of the newest message answered."""
    prompt: str
    """The session's system prompt; empty for a command."""
    room: int
    """Tokens for history and message together."""
    history: History
    is_resting: bool
    """The history is not to be compressed by itself: that is under way, or came to nothing a while ago."""
    steps: list[journal.Step]


def claim_and_open(*, session_key: str) -> OpenTurn | None:
    """Claims the session's lane and opens its next turn; nothing where another worker has it or nothing waits."""
    mine = lanes.bid(kind=LaneKind.TURNS, key=session_key)
    with transaction.atomic():
        won, found, sessions = execute(
            lanes.claiming(mine),
            _reading_open_messages(lanes.lane_of(mine)),
            reading_sessions([session_key], for_turn=True),
        )
        claim = lanes.claimed(mine, won)
        return _open(claim, found, sessions) if claim else None


def open_next(claim: Claim) -> OpenTurn | None:
    """The next turn of a lane that the caller holds; where nothing waits the lane is released.

    Must run in a transaction in which the lane was claimed or held.
    """
    lane = Sql("%s", [claim.lane_id])
    return _open(claim, *execute(_reading_open_messages(lane), reading_sessions([claim.key], for_turn=True)))


def open_messages(claim: Claim, *, besides: int) -> Sql:
    """SQL that finds the lane's open messages but those of turn `besides`."""
    return Sql(
        f"SELECT 1 FROM {INBOX} WHERE lane_id = %s AND state IN ('waiting', 'running')"
        " AND (turn_id IS NULL OR turn_id <> %s)",
        [claim.lane_id, besides],
    )


def _reading_open_messages(lane: Sql) -> Statement:
    # The states are written out so that SQLite, too, sees that the partial index `inbound_open` serves.
    return Statement(
        f"SELECT id, source, text, message_id, turn_id FROM {INBOX}"
        f" WHERE lane_id = ({lane.sql}) AND state IN ('waiting', 'running') ORDER BY seq",
        lane.values,
    )


def _open(claim: Claim, found: list[Row], sessions: list[Row]) -> OpenTurn | None:
    if not found:
        lanes.release(claim)  # the lane's row is locked, so nothing can have been put in since
        return None
    # A turn that was left goes first, also where an operator has put an older message back before its own.
    unfinished = next((turn_id for *_, turn_id in found if turn_id is not None), None)
    waiting = [
        Waiting(row_id, SessionSource.from_json(json.loads(source)), text, message_id)
        for row_id, source, text, message_id, turn_id in found
        if turn_id == unfinished
    ]
    if unfinished is not None:
        return _take_over(claim, turn_id=unfinished, waiting=waiting)
    session = opened_sessions(sessions, {claim.key: waiting[-1].source})[claim.key]
    return _start(claim, waiting=_collected(waiting), session=session)


def _start(claim: Claim, *, waiting: list[Waiting], session: OpenSession) -> OpenTurn:
    pinned = Pinned(session.prompt, session.prompt_hash)
    prompted = pinned if waiting[0].invocation else prompt.of(waiting[-1].source, pinned=pinned)
    started, _, transcript, *_ = execute(
        insert(
            Turn,
            columns=("session_id", "lane_id", "state", "attempts"),
            rows=[(session.pk, claim.lane_id, TurnState.RUNNING.value, 1)],
            returning=("id",),
        ),
        Statement(
            f"UPDATE {INBOX} SET state = %s,"
            f" turn_id = (SELECT id FROM {TURN} WHERE lane_id = %s AND state = 'running')"
            f" WHERE id IN ({', '.join(['%s'] * len(waiting))})",
            [InboundState.RUNNING.value, claim.lane_id, *(message.row_id for message in waiting)],
        ),
        history.reading(session_pk=session.pk, compressed=session.compressed),
        *([_pinning(session, prompted)] if prompted is not pinned else []),
    )
    return _opened(
        claim,
        turn_id=started[0][0],
        attempts=1,
        session=session._replace(prompt=prompted.text),
        waiting=waiting,
        steps=[],
        transcript=transcript,
    )


def _pinning(session: OpenSession, prompted: Pinned) -> Statement:
    return Statement(
        f"UPDATE {SESSION} SET prompt = %s, prompt_hash = %s WHERE id = %s",
        [prompted.text, prompted.hash, session.pk],
    )


def _take_over(claim: Claim, *, turn_id: int, waiting: list[Waiting]) -> OpenTurn:
    turn = Turn.objects.select_related("session__compression").get(pk=turn_id)
    turn.attempts += 1
    turn.save(update_fields=["attempts"])
    # What the turn was begun with is what it goes on with; only a session of before prompts were kept has none.
    row = turn.session
    text = row.prompt or prompt.of(waiting[-1].source, pinned=Pinned()).text
    compressed = compression.compressed(row.compression)
    session = OpenSession(row.pk, row.session_id, text, row.prompt_hash, compressed=compressed)
    return _opened(
        claim,
        turn_id=turn_id,
        attempts=turn.attempts,
        session=session,
        waiting=waiting,
        steps=journal.load(turn_id=turn_id),
        transcript=execute(history.reading(session_pk=session.pk, compressed=session.compressed))[0],
    )


def _opened(
    claim: Claim,
    *,
    turn_id: int,
    attempts: int,
    session: OpenSession,
    waiting: list[Waiting],
    steps: list[journal.Step],
    transcript: list[Row],
) -> OpenTurn:
    newest = waiting[-1]
    context = context_of(newest.source, session_id=session.session_id)
    asked = "\n\n".join(_said(message) for message in waiting)
    room = window.room(prompt=session.prompt, tools=tool_registry(context))
    said = history.messages(transcript, compressed=session.compressed)
    return OpenTurn(
        claim=claim,
        turn_id=turn_id,
        attempts=attempts,
        session_pk=session.pk,
        context=context,
        source=newest.source,
        invocation=newest.invocation if len(waiting) == 1 else None,
        asked=asked,
        reply_to=newest.message_id,
        prompt=session.prompt,
        room=room,
        history=history.fitting(said, budget=room - tokens.estimate(asked), compressed=session.compressed),
        is_resting=session.is_resting,
        steps=steps,
    )


def _collected(waiting: list[Waiting]) -> list[Waiting]:
    """What the next turn takes: a command by itself, or all that waits, up to a command or another person's message.

    One person's request never runs under another's identity, also where several write in one session.
    """
    first, *rest = waiting
    if first.invocation:
        return [first]
    who = first.source.participant
    more = itertools.takewhile(lambda message: message.source.participant == who and not message.invocation, rest)
    return [first, *more]


def _said(message: Waiting) -> str:
    if not is_shared(message.source):
        return message.text
    return f"[{prompt.sender(message.source)}] {message.text}"


def give_up_early(turn: OpenTurn, *, wait: float) -> None:
    """Hands an unfinished turn back, to be taken over after `wait` seconds; a stop by us costs it no attempt."""
    with lanes.fenced(turn.claim):
        lanes.hold(turn.claim)
        if not wait:
            Turn.objects.filter(pk=turn.turn_id).update(attempts=turn.attempts - 1)
        lanes.release_later(turn.claim, wait=wait)
