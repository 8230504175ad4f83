"""Opens a session's next turn: takes what waits, or takes over the turn that a dead worker left, or that was parked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from gateway_app import clock, lanes
from gateway_app.agent import prompt, window
from gateway_app.agent.asking import Answers
from gateway_app.agent.prompt import Pinned
from gateway_app.agent.tools import registry as tool_registry
from gateway_app.commands.invocation import Invocation
from gateway_app.delivery import outbox
from gateway_app.lanes import Claim
from gateway_app.models import InboundMessage, OutboundPart, Session, Turn
from gateway_app.models.inbox import InboundState
from gateway_app.models.lane import LaneKind
from gateway_app.models.turn import StepKind, StopReason, TurnState
from gateway_app.questions import answering
from gateway_app.sessions import compression, expiry, history, lineage, reset_policy, tokens
from gateway_app.sessions.history import History
from gateway_app.sessions.lineage import Part
from gateway_app.sessions.overrides import Overrides
from gateway_app.sessions.routing import OpenSession, context_of, opened_sessions, reading_sessions
from gateway_app.sessions.source import SessionContext, SessionSource
from gateway_app.statements import Row, Sql, Statement, execute, insert
from gateway_app.steps import Road, step
from honcho_app import recall

from . import journal, resuming
from .waiting import COLUMNS, Waiting, collected, read, said

INBOX = InboundMessage._meta.db_table
SESSION = Session._meta.db_table
TURN = Turn._meta.db_table
NOTICE = "reset/"
"""What the keys of notices of a reset begin with, in the outbox."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The clock has put the conversation before this one aside."""

    note: str
    """For the model, with this turn's question only."""
    notice: str
    """For the person; empty where nobody is to be told."""


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
    reset: Reset | None
    """What this turn tells of."""
    inherited: tuple[Part, ...]
    """What a branch starts from."""
    overrides: Overrides
    """What the session's people chose to be different in it."""
    prompt: str
    """The session's system prompt; empty for a command."""
    room: int
    """Tokens for history and message together, beside what memory may take."""
    history: History
    is_resting: bool
    """The history is not to be compressed by itself: that is under way, or came to nothing a while ago."""
    steps: list[journal.Step]
    seen_tail: int
    """The newest place in the lane that was looked at for messages that join the turn."""
    interrupts: int = 0
    """Turns right before it that were interrupted, in a row."""
    stop: StopReason | None = None
    """Why it is to stop, once it is known."""
    partial: str = ""
    """What the model has said since the last step, where somebody watches."""
    messages: list[Waiting] = field(default_factory=list)
    """What `asked` is made of."""
    images: list[dict[str, Any]] = field(default_factory=list)
    """Images of the message, for a model that sees, as parts of a chat-completions message."""
    recalled: str = ""
    """What Honcho remembers, as it stands below the message; it enters no transcript."""
    preface: list[str] = field(default_factory=list)
    """What people are told above the reply: what was understood of their voice, which file could not be had."""
    answers: Answers = field(default_factory=dict)
    """What people have answered in it: it was parked before."""
    preview: outbox.Place | None = None
    """The message that shows the reply while it is written, and whose place it is to take."""
    leftovers: list[asyncio.Task[None]] = field(default_factory=list)  # in the chat; no reply waits for them

    def obeys(self, reason: StopReason) -> bool:
        """Whether the turn ends for it: a command is short, and a message that comes meanwhile is no word on it."""
        return reason is StopReason.STOPPED or self.invocation is None


@step
def claim_and_open(*, session_key: str) -> Road[OpenTurn | None]:
    """Claims the session's lane and opens its next turn.

    Nothing where another worker has it, nothing waits, or its turn waits for an answer.
    """
    mine = lanes.bid(kind=LaneKind.TURNS, key=session_key)
    won, found, sessions = yield [
        lanes.claiming(mine),
        _reading_open_messages(lanes.lane_of(mine)),
        _reading_session(session_key),
    ]
    claim = lanes.claimed(mine, won)
    return (yield from _open(claim, found, sessions)) if claim else None


def opening_next(claim: Claim, *, interrupts: int = 0) -> Road[OpenTurn | None]:
    """The next turn of a lane that the caller holds; where nothing waits the lane is released.

    `interrupts` is how many turns right before it were interrupted. Must run in a transaction in which the lane was
    claimed or held.
    """
    lane = Sql("%s", [claim.lane_id])
    found, sessions = yield [_reading_open_messages(lane), _reading_session(claim.key)]
    return (yield from _open(claim, found, sessions, interrupts=interrupts))


def _reading_session(key: str) -> Statement:
    return reading_sessions([key], for_turn=True, with_ages=reset_policy.is_anywhere())


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
        f"SELECT {COLUMNS} FROM {INBOX} WHERE lane_id = ({lane.sql}) AND state IN ('waiting', 'running') ORDER BY seq",
        lane.values,
    )


def _open(claim: Claim, found: list[Row], sessions: list[Row], *, interrupts: int = 0) -> Road[OpenTurn | None]:
    if not found:
        lanes.release(claim)  # the lane's row is locked, so nothing can have been put in since
        return None
    # A turn that was left goes first, also where an operator has put an older message back before its own.
    unfinished = next((turn_id for *_, turn_id in found if turn_id is not None), None)
    waiting = [read(row) for row in found if row[-1] == unfinished]
    if unfinished is not None:
        return _take_over(claim, turn_id=unfinished, waiting=waiting)
    session = opened_sessions(sessions, {claim.key: waiting[-1].source})[claim.key]
    taken = collected(waiting)
    if not taken[0].invocation:
        session = _refreshed(claim, session, first=taken[0])
    return (yield from _start(claim, waiting=taken, session=session, interrupts=interrupts))


def _refreshed(claim: Claim, session: OpenSession, *, first: Waiting) -> OpenSession:
    """The session that the message belongs to; commands, which may speak of what was before, do not end it."""
    at = clock.moment(first.accepted_at)
    kind = first.source.chat_type.value
    return expiry.refresh(claim, session, platform=first.source.platform, chat_type=kind, at=at) if at else session


def _start(claim: Claim, *, waiting: list[Waiting], session: OpenSession, interrupts: int) -> Road[OpenTurn]:
    pinned = Pinned(session.prompt, session.prompt_hash)
    prompted = pinned if waiting[0].invocation else _prompt(waiting[-1].source, pinned, session.overrides)
    started, _, transcript, *_ = yield [
        insert(
            Turn,
            columns=("session_id", "lane_id", "state", "attempts", "interrupts"),
            rows=[(session.pk, claim.lane_id, TurnState.RUNNING.value, 1, interrupts)],
            returning=("id",),
        ),
        Statement(
            f"UPDATE {INBOX} SET state = %s,"
            f" turn_id = (SELECT id FROM {TURN} WHERE lane_id = %s AND state IN ('running', 'parked'))"
            f" WHERE id IN ({', '.join(['%s'] * len(waiting))})",
            [InboundState.RUNNING.value, claim.lane_id, *(message.row_id for message in waiting)],
        ),
        history.reading(session_pk=session.pk, inherited=session.inherited, compressed=session.compressed),
        *([_pinning(session, prompted)] if prompted is not pinned else []),
    ]
    turn = _opened(
        claim,
        turn_id=started[0][0],
        attempts=1,
        session=session._replace(prompt=prompted.text),
        waiting=waiting,
        steps=[],
        transcript=transcript,
    )
    turn.interrupts = interrupts
    if turn.reset and turn.reset.notice:
        _give_notice(turn, turn.reset.notice)
    return turn


def _prompt(source: SessionSource, pinned: Pinned, overrides: Overrides) -> Pinned:
    return prompt.of(source, pinned=pinned, personality=overrides.personality)


def _pinning(session: OpenSession, prompted: Pinned) -> Statement:
    return Statement(
        f"UPDATE {SESSION} SET prompt = %s, prompt_hash = %s WHERE id = %s",
        [prompted.text, prompted.hash, session.pk],
    )


def _give_notice(turn: OpenTurn, text: str) -> None:
    """Puts it before the turn's reply. Once, since a turn starts once; one that was stopped before has given it."""
    if OutboundPart.objects.filter(turn__session_id=turn.session_pk, idempotency_key__startswith=NOTICE).exists():
        return
    context = turn.context
    outbox.enqueue(
        outbox.Draft(
            key=f"{NOTICE}{turn.turn_id}",
            platform=context.platform,
            account=context.account,
            chat_id=context.chat_id,
            thread_id=context.thread_id,
            text=text,
            turn_id=turn.turn_id,
        )
    )


def _take_over(claim: Claim, *, turn_id: int, waiting: list[Waiting]) -> OpenTurn | None:
    turn = Turn.objects.select_related("session__parent", "session__compression").get(pk=turn_id)
    if turn.state != TurnState.PARKED:
        turn.attempts += 1
    elif (until := resuming.go_on(turn)) is not None:
        lanes.release(claim, wake_at=until)
        return None
    turn.save(update_fields=["attempts", "state"])
    # What the turn was begun with is what it goes on with; only a session of before prompts were kept has none.
    row = turn.session
    overrides = Overrides.from_json(row.overrides)
    session = OpenSession(
        row.pk,
        row.session_id,
        lineage.read(row.inherited),
        row.untold_reset,
        row.parent.session_id if row.parent else "",
        prompt=row.prompt or _prompt(waiting[-1].source, Pinned(), overrides).text,
        prompt_hash=row.prompt_hash,
        overrides=overrides,
        compressed=compression.compressed(row.compression),
    )
    reading = history.reading(session_pk=session.pk, inherited=session.inherited, compressed=session.compressed)
    opened = _opened(
        claim,
        turn_id=turn_id,
        attempts=turn.attempts,
        session=session,
        waiting=waiting,
        steps=journal.load(turn_id=turn_id),
        transcript=execute(reading)[0],
    )
    opened.interrupts = turn.interrupts
    opened.answers = answering.answers_of(turn_id)
    if turn.has_known_preview:
        opened.preview = outbox.Place(turn.preview_id, turn.preview_seq)
    if turn.stop and opened.obeys(StopReason(turn.stop)):
        opened.stop = StopReason(turn.stop)
    opened.seen_tail = -1  # what the dead worker had not looked for may join yet
    return opened


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
    invocation = newest.invocation if len(waiting) == 1 else None
    joined = {row_id for step in steps if step.kind is StepKind.STEERED for row_id in step.payload["messages"]}
    messages = [message for message in waiting if message.row_id not in joined]
    asked = "\n\n".join(map(said, messages))
    context = context_of(newest.source, session_id=session.session_id)
    room = window.room(prompt=session.prompt, tools=tool_registry(context)) - recall.room()
    found = history.messages(transcript, compressed=session.compressed)
    return OpenTurn(
        claim=claim,
        turn_id=turn_id,
        attempts=attempts,
        session_pk=session.pk,
        context=context,
        source=newest.source,
        invocation=invocation,
        asked=asked,
        reply_to=newest.message_id,
        reset=None if invocation or not session.untold_reset else _reset(session, newest.source),
        inherited=session.inherited,
        overrides=session.overrides,
        prompt=session.prompt,
        room=room,
        history=history.fitting(found, budget=room - tokens.estimate(asked), compressed=session.compressed),
        is_resting=session.is_resting,
        steps=steps,
        seen_tail=claim.tail,
        messages=messages,
    )


def _reset(session: OpenSession, source: SessionSource) -> Reset:
    policy = reset_policy.policy_for(platform=source.platform, chat_type=source.chat_type.value)
    reason = session.untold_reset
    told = reset_policy.notice(policy, reason=reason, session_id=session.parent_session_id) if policy.notify else ""
    return Reset(reset_policy.note(policy, reason=reason), told)


def give_up_early(turn: OpenTurn, *, wait: float) -> None:
    """Hands an unfinished turn back, to be taken over after `wait` seconds; a stop by us costs it no attempt."""
    with lanes.fenced(turn.claim):
        lanes.hold(turn.claim)
        if not wait:
            Turn.objects.filter(pk=turn.turn_id).update(attempts=turn.attempts - 1)
        lanes.release_later(turn.claim, wait=wait)
