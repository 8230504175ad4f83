"""Closes a turn: transcript, reply, usage and inbox in one fenced transaction, which also opens what waits next."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from gateway_app import clock, lanes, metrics, rows
from gateway_app.delivery import outbox
from gateway_app.lanes import Claim
from gateway_app.models import InboundMessage, TranscriptMessage, Turn
from gateway_app.models.inbox import InboundState
from gateway_app.models.turn import TurnState
from gateway_app.sessions import tokens

from . import journal
from .opening import OpenTurn, open_next

INBOX = InboundMessage._meta.db_table
TURN = Turn._meta.db_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a turn ended: what the person is told, and what is kept."""

    state: TurnState
    reply: str
    """Empty where nothing is to be said."""
    said: list[dict[str, Any]] = field(default_factory=list)
    """The agent's messages and tool results, in chat-completions form, for the transcript."""
    steps: list[journal.Step] = field(default_factory=list)
    """Journal steps not recorded yet."""
    error_kind: str = ""
    error: str = ""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Closed:
    """What is to be done after the commit."""

    delivery: Claim | None
    """The chat's lane, where it was free."""
    head: outbox.Head | None
    """The first part to send in it."""
    following: OpenTurn | None
    """The session's next turn, already opened; where there is none the session's lane is released."""


def close(turn: OpenTurn, outcome: Outcome) -> Closed:
    """Commits the turn. Raises `LaneLost`, and then nothing of it is written."""
    with transaction.atomic():
        lanes.hold(turn.claim)
        _write_transcript(turn, outcome)
        if outcome.steps:
            journal.write(turn_id=turn.turn_id, first=len(turn.steps), steps=outcome.steps)
        _finish(turn, outcome)
        delivery = head = None
        if outcome.reply:
            delivery = outbox.enqueue(_draft(turn, outcome.reply), and_claim=True)
            head = outbox.take_next(delivery) if delivery else None
        following = open_next(turn.claim)
    metrics.TURNS.labels(outcome=outcome.state.value).inc()
    return Closed(delivery, head, following)


def _write_transcript(turn: OpenTurn, outcome: Outcome) -> None:
    said = [{"role": "user", "content": turn.asked}, *outcome.said]
    rows.insert(
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


def _finish(turn: OpenTurn, outcome: Outcome) -> None:
    dead = outcome.state is TurnState.DEAD
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TURN} SET state = %s, error_kind = %s, error = %s, model = %s, prompt_tokens = %s,"
            f" completion_tokens = %s, model_seconds = %s, finished_at = {clock.now()} WHERE id = %s",
            [
                outcome.state.value, outcome.error_kind, outcome.error, outcome.model, outcome.prompt_tokens,
                outcome.completion_tokens, outcome.model_seconds, turn.turn_id,
            ],
        )  # fmt: skip
        cursor.execute(
            f"UPDATE {INBOX} SET state = %s, reason = %s, finished_at = {clock.now()} WHERE turn_id = %s",
            [(InboundState.DEAD if dead else InboundState.DONE).value, outcome.error if dead else "", turn.turn_id],
        )


def _draft(turn: OpenTurn, text: str) -> outbox.Draft:
    context = turn.context
    return outbox.Draft(
        key=f"turn/{turn.turn_id}",
        platform=context.platform,
        account=context.account,
        chat_id=context.chat_id,
        thread_id=context.thread_id,
        reply_to=turn.reply_to,
        text=text,
        turn_id=turn.turn_id,
    )
