"""Closes a turn: transcript, reply, usage and inbox in one fenced transaction, which also opens what waits next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway_app import background, clock, lanes
from gateway_app.agent.usage import Usage
from gateway_app.commands.base import Effect, Held
from gateway_app.delivery import outbox
from gateway_app.lanes import Claim
from gateway_app.models import InboundMessage, MediaFile, Session, TranscriptMessage, Turn
from gateway_app.models.inbox import InboundState
from gateway_app.models.turn import StopReason, TurnState
from gateway_app.sessions import tokens
from gateway_app.statements import Statement, insert
from gateway_app.steps import Road, fenced_step
from honcho_app import ledger

from . import journal
from .opening import OpenTurn, open_messages, opening_next

INBOX = InboundMessage._meta.db_table
SESSION = Session._meta.db_table
TURN = Turn._meta.db_table
MESSAGES_AT_ONCE = 500
"""Messages that one statement writes: SQLite takes so many values in one, and a long turn has thousands."""
LONGEST_MODEL = 128
"""Characters of a model's name that a turn keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a turn ended: what the person is told, and what is kept."""

    state: TurnState
    reply: str = ""
    """Empty where nothing is to be said."""
    files: Sequence[MediaFile] = ()
    """Sent after it."""
    effect: Effect | None = None
    """What a command changes together with its reply, which this returns."""
    said: list[dict[str, Any]] = field(default_factory=list)
    """The agent's messages and tool results, in chat-completions form, for the transcript."""
    steps: list[journal.Step] = field(default_factory=list)
    """Journal steps not recorded yet."""
    error_kind: str = ""
    error: str = ""
    usage: Usage = field(default_factory=Usage)
    """What was used of the models, also where the turn failed."""
    cost_micros: int | None = None
    """What that cost, where it is known."""
    sync_honcho: bool = True
    """Whether what was said is for Honcho as well."""


class StopAsked(Exception):
    """The turn was asked to stop while its outcome was on its way; nothing of that is written."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.label)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Closed:
    """What is to be done after the commit."""

    delivery: Claim | None
    """The chat's lane, where it was free."""
    head: outbox.Head | None
    """The first part to send in it."""
    following: OpenTurn | None
    """The session's next turn, already opened; where there is none the session's lane is released."""
    is_long: bool = False
    """The history is to be compressed for the turns that come."""
    is_for_honcho: bool = False
    """The turn's Honcho lane is to be rung for."""


def _claim_of(turn: OpenTurn, outcome: Outcome) -> Claim:
    return turn.claim


@fenced_step(claim_of=_claim_of)
def close(turn: OpenTurn, outcome: Outcome) -> Road[Closed]:
    """Commits the turn. Raises `LaneLost` and `StopAsked`, and then nothing of it is written."""
    reply = (yield from _carried_out(turn, outcome.effect)) if outcome.effect else outcome.reply
    posting = outbox.Posting(_draft(turn, reply, outcome), and_claim=True)
    writing = ledger.writing(turn, outcome)
    held, *rest = yield [
        lanes.holding_or_releasing(turn.claim, open_items=open_messages(turn.claim, besides=turn.turn_id)),
        *posting.statements,
        *_writing_transcript(turn, outcome),
        *_journaling(turn, outcome),
        *writing.statements,
        *_finishing(turn, outcome),
    ]
    is_released = lanes.held_or_released(turn.claim, held)
    if outcome.state is not TurnState.STOPPED and (StopReason.STOPPED,) in rest[-2]:
        raise StopAsked(StopReason.STOPPED)  # the person knows that it was
    delivery, head = posting.outcome(rest[: len(posting.statements)])
    is_interrupted = outcome.state is TurnState.STOPPED and turn.stop is StopReason.INTERRUPTED
    interrupts = turn.interrupts + 1 if is_interrupted else 0
    following = None if is_released else (yield from opening_next(turn.claim, interrupts=interrupts))
    return Closed(delivery, head, following, is_for_honcho=writing.is_rung)


def _carried_out(turn: OpenTurn, effect: Effect) -> Road[str]:
    """Does what a command asks for, under the lane's lock; returns the reply."""
    (held,) = yield [lanes.holding(turn.claim)]
    lanes.held(turn.claim, held)
    return effect(Held(claim=turn.claim, turn_id=turn.turn_id, session_pk=turn.session_pk))


def _journaling(turn: OpenTurn, outcome: Outcome) -> list[Statement]:
    if not outcome.steps:
        return []
    return [journal.writing(turn_id=turn.turn_id, first=len(turn.steps), steps=outcome.steps)]


def _writing_transcript(turn: OpenTurn, outcome: Outcome) -> list[Statement]:
    if turn.invocation:
        return []
    said = [{"role": "user", "content": turn.asked}, *outcome.said]
    return [
        _writing_messages(turn, said[start : start + MESSAGES_AT_ONCE])
        for start in range(0, len(said), MESSAGES_AT_ONCE)
    ]


def _writing_messages(turn: OpenTurn, said: list[dict[str, Any]]) -> Statement:
    return insert(
        TranscriptMessage,
        columns=("session_id", "turn_id", "role", "content", "user_id", "tool_calls", "tool_call_id", "tokens"),
        rows=[
            (
                turn.session_pk,
                turn.turn_id,
                message["role"],
                message["content"],
                turn.context.user_id if message["role"] == "user" else "",
                json.dumps(message["tool_calls"]) if message.get("tool_calls") else None,
                message.get("tool_call_id", ""),
                tokens.estimate(message["content"]) + tokens.estimate(json.dumps(message.get("tool_calls") or "")),
            )
            for message in said
        ],
    )


def _finishing(turn: OpenTurn, outcome: Outcome) -> list[Statement]:
    dead, usage = outcome.state is TurnState.DEAD, outcome.usage
    is_told = turn.reset and outcome.state is not TurnState.STOPPED
    told = [Statement(f"UPDATE {SESSION} SET untold_reset = '' WHERE id = %s", [turn.session_pk])] if is_told else []
    return [
        *told,
        Statement(
            f"UPDATE {TURN} SET state = %s, error_kind = %s, error = %s, model = %s, prompt_tokens = %s,"
            " cached_tokens = %s, completion_tokens = %s, cost_micros = %s, model_seconds = %s,"
            f" finished_at = {clock.now()} WHERE id = %s RETURNING stop",
            [
                outcome.state.value, outcome.error_kind, outcome.error, usage.model[:LONGEST_MODEL],
                usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, outcome.cost_micros,
                usage.model_seconds, turn.turn_id,
            ],
        ),
        Statement(
            f"UPDATE {INBOX} SET state = %s, reason = %s, finished_at = {clock.now()} WHERE turn_id = %s",
            [(InboundState.DEAD if dead else InboundState.DONE).value, outcome.error if dead else "", turn.turn_id],
        ),
    ]  # fmt: skip


def _draft(turn: OpenTurn, text: str, outcome: Outcome) -> outbox.Draft:
    context, place = turn.context, turn.preview
    if turn.preface and (text or outcome.files):
        text = "\n\n".join([*turn.preface, *([text] if text else [])])
    if place and outcome.state is TurnState.STOPPED:
        place = replace(place, seq=None)  # what was said stays where it stands, above the answer to `/stop`
    return outbox.Draft(
        key=f"turn/{turn.turn_id}",
        platform=context.platform,
        account=context.account,
        chat_id=context.chat_id,
        thread_id=context.thread_id,
        reply_to=turn.reply_to,
        text=background.labelled(turn.source, text),
        turn_id=turn.turn_id,
        files=outcome.files,
        place=place,
    )
