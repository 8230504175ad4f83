"""The ledger: what was said, put down to be written to Honcho in the transaction that closes the turn.

A row on the `honcho` lane of the session's key is all that a turn does. So a turn never waits for Honcho nor fails for
it, and what a turn has committed is written, however long that takes.

What is kept is what a person said and what the agent answered: of turns that were answered, failed or were stopped.
A turn that was given up is kept once its messages were replayed. Commands, tool calls and what the gateway adds to a
message for the model are never kept.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction

from gateway_app import clock, doorbell, lanes
from gateway_app.agent import prompt
from gateway_app.agent.interruption import MARK
from gateway_app.agent.model_reply import storable
from gateway_app.models.lane import LaneKind
from gateway_app.models.turn import TurnState
from gateway_app.sessions.key import is_shared
from gateway_app.statements import Sql, Statement, Value, execute, insert

from . import configuration, fences, names
from .configuration import HonchoConfig
from .models import HonchoWrite
from .models.write import Role, WriteState

if TYPE_CHECKING:
    from gateway_app.turns.closing import Outcome
    from gateway_app.turns.opening import OpenTurn

TABLE = HonchoWrite._meta.db_table
COLUMNS = ("lane_id", "seq", "session_id", "turn_id", "part", "role", "peer", "content", "said_at", "state")
AT_ONCE = ("async", "turn")
"""Values of `writeFrequency` that have a turn written as soon as it has ended."""


class Said(NamedTuple):
    """Something that was said, no longer than Honcho takes it."""

    role: Role
    peer: str
    content: str
    at: Value | Sql


class Writing(NamedTuple):
    """What a turn puts down."""

    statements: Sequence[Statement] = ()
    """They belong into the transaction that closes it."""
    is_rung: bool = False
    """Its Honcho session key is to be rung for when that has committed."""


NOTHING = Writing()


def writing(turn: OpenTurn, outcome: Outcome) -> Writing:
    """What was said in the turn, where it is to be written."""
    config = configuration.live()
    if not (config.is_active and config.save_messages and outcome.sync_honcho):
        return NOTHING
    if turn.invocation or outcome.state is TurnState.DEAD:
        return NOTHING
    said = list(_said(turn, outcome, config))
    if not said:
        return NOTHING
    key, frequency = turn.context.honcho_session_key, config.write_frequency
    is_rung = frequency in AT_ONCE
    place = lanes.bid(kind=LaneKind.HONCHO, key=key)
    statements = [
        lanes.putting(kind=LaneKind.HONCHO, counts={key: len(said)}, is_rung=is_rung),
        insert(
            HonchoWrite,
            columns=COLUMNS,
            rows=[
                (
                    *lanes.place_of(place, back=len(said) - 1 - part), turn.session_pk, turn.turn_id, part,
                    each.role.value, each.peer, each.content, each.at, WriteState.WAITING.value,
                )
                for part, each in enumerate(said)
            ],
        ),
        *([_ringing_for_many(key, turns=frequency)] if isinstance(frequency, int) else []),
    ]  # fmt: skip
    return Writing(statements, is_rung)


def release(*, honcho_session_key: str) -> None:
    """Has what waits for the key written now, also where it would wait for further turns or the session's end."""
    with transaction.atomic():
        (found,) = execute(_ringing_for_many(honcho_session_key, turns=1))
        if found:
            transaction.on_commit(functools.partial(doorbell.ring_honcho, [honcho_session_key]), robust=True)


def is_drained(*, honcho_session_key: str) -> bool:
    """Whether nothing waits to be written for the key. What was given up does not wait."""
    waiting = HonchoWrite.objects.filter(state=WriteState.WAITING)
    return not waiting.filter(lane__kind=LaneKind.HONCHO, lane__key=honcho_session_key).exists()


def _ringing_for_many(key: str, *, turns: int) -> Statement:
    """Has the lane rung for where so many turns wait in it, and not for later already; yields its id then."""
    return Statement(
        f"UPDATE {lanes.TABLE} SET wake_at = {clock.now()} WHERE kind = %s AND key = %s AND wake_at IS NULL"
        f" AND (SELECT COUNT(DISTINCT turn_id) FROM {TABLE}"
        f" WHERE lane_id = {lanes.TABLE}.id AND state = 'waiting') >= %s"
        " RETURNING id",
        [LaneKind.HONCHO.value, key, turns],
    )


def _said(turn: OpenTurn, outcome: Outcome, config: HonchoConfig) -> Iterator[Said]:
    person, agent = names.peer_name(turn.source, config), names.ai_peer_name(config)
    now = Sql(f"SELECT {clock.now()}")
    at = clock.moment(turn.messages[0].accepted_at) if turn.messages else None
    steered = [_unlabelled(turn, message["content"]) for message in outcome.said if message["role"] == "user"]
    for text in (_asked(turn), *steered):
        for content in _parts(text, most=config.message_max_chars):
            yield Said(Role.USER, person, content, clock.parameter(at) or now)
    for content in _parts(_answered(outcome), most=config.message_max_chars):
        yield Said(Role.ASSISTANT, agent, content, now)


def _asked(turn: OpenTurn) -> str:
    """What the person said: their words, and with files what was made of these, such as the text of a voice message."""
    if any(message.attachments for message in turn.messages):
        return _unlabelled(turn, turn.asked)
    return "\n\n".join(message.text for message in turn.messages)


def _unlabelled(turn: OpenTurn, text: str) -> str:
    """`text` without the name that the model gets before each message of a session that several share."""
    if not is_shared(turn.source):
        return text
    label = f"[{prompt.sender(turn.source)}] "
    return text.removeprefix(label).replace(f"\n\n{label}", "\n\n")


def _answered(outcome: Outcome) -> str:
    """What the agent answered in the end; empty where it did not come to that."""
    last = outcome.said[-1] if outcome.said else {"role": ""}
    if last["role"] != "assistant" or last.get("tool_calls"):
        return ""
    return str(last["content"]).removesuffix(MARK)


def _parts(text: str, *, most: int) -> Iterator[str]:
    """`text` as Honcho takes it: in parts, without recalled memory, and nothing that is only white space."""
    text = storable(fences.stripped(text))
    for start in range(0, len(text), most):
        part = text[start : start + most]
        if part.strip():
            yield part
