"""The inbox: events become rows, once each, before their platform is acknowledged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from django.conf import settings
from django.db import transaction

from gateway_app import channels, lanes, metrics
from gateway_app.access import limits, people, strangers
from gateway_app.access.decision import Decision
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.access.limits import Limited
from gateway_app.commands import control
from gateway_app.commands.control import Clarification, Control
from gateway_app.delivery import outbox
from gateway_app.models import InboundMessage, Question
from gateway_app.models.inbox import BusyMode, InboundState
from gateway_app.models.lane import LaneKind
from gateway_app.platforms.base import InboundEvent, UnreadableEvent
from gateway_app.questions import answering
from gateway_app.sessions.key import delivery_key, session_key
from gateway_app.sessions.routing import context_of, opened_sessions, reading_sessions
from gateway_app.sessions.source import SessionContext
from gateway_app.statements import Statement, Value, execute, insert
from gateway_app.turns import stopping

log = logging.getLogger(__name__)

TABLE = InboundMessage._meta.db_table


@dataclass(frozen=True, slots=True)
class Answer:
    """What an event is answered with when it is accepted, and the name of that answer in the outbox."""

    key: str
    text: str


@dataclass(slots=True)
class Accepted:
    """What became of a batch. `rings` are the sessions that no worker holds, to be rung after the commit."""

    rings: list[SessionContext] = field(default_factory=list)
    event_ids: set[str] = field(default_factory=set)
    """Events that are rows now and were not before, refused ones among them."""
    refused: dict[str, str] = field(default_factory=dict)
    """The answer given to each event that was refused, by event id."""
    denied: set[str] = field(default_factory=set)
    """Events whose sender may not speak; nothing of them is kept."""
    chats: list[str] = field(default_factory=list)
    """Delivery lanes in which a word to somebody unknown or too fast waits, or the answer to a control command, to be
    rung for (`ring_delivery`)."""
    limited: dict[str, Limited] = field(default_factory=dict)
    """Events that came too fast, by event id; nothing of them is kept."""


def accept(
    events: Sequence[InboundEvent],
    *,
    unreadable: Sequence[UnreadableEvent] = (),
    assert_held: Callable[[], None] | None = None,
) -> Accepted:
    """Writes a batch of events in one transaction: inbox rows, sessions and channels.

    Denied senders are dropped first and cost no transaction, then events that come too fast, of which their chat is
    told once in a while. Who is unknown may get a pairing code, in a transaction of its own after this one: a process
    that dies between them, or before the platform is acknowledged, leaves the event to come again. An event that is
    known already changes nothing. One that is too long, or finds its session full, is recorded with a refusal in the
    outbox. A control command is answered here, and so is taken what answers a parked turn; a message in the mode
    `interrupt` asks its session's turn to stop.
    The caller acknowledges the platform after this returns, and then rings (`doorbell`). `assert_held` runs within the
    transaction and raises if the caller may no longer accept. Raises `django.db.Error`; then the platform must not be
    acknowledged.
    """
    accepted = Accepted()
    welcome: list[InboundEvent] = []
    denied: list[tuple[InboundEvent, Decision]] = []
    for event in events:
        decision = gatekeeper.decide(event.source)
        if decision.is_allowed:
            welcome.append(_cleaned(event))
        else:
            accepted.denied.add(event.event_id)
            denied.append((event, decision))
            metrics.ACCEPTED.labels(platform=event.source.platform, outcome="denied").inc()
            log.info(
                "Denied %s user %r in chat %r: %s.",
                event.source.platform, event.source.user_id, event.source.chat_id, decision.rule,
            )  # fmt: skip
    if welcome or unreadable:
        _take(welcome, unreadable, accepted, assert_held=assert_held)
    accepted.chats += strangers.answer(denied)
    return accepted


def _take(
    welcome: Sequence[InboundEvent],
    unreadable: Sequence[UnreadableEvent],
    accepted: Accepted,
    *,
    assert_held: Callable[[], None] | None,
) -> None:
    with limits.charging(welcome) as charge, transaction.atomic():
        if assert_held:
            assert_held()
        _record_unreadable(unreadable)
        accepted.limited = charge.settle()
        accepted.chats = charge.chats
        taken: dict[str, list[InboundEvent]] = {}
        for event in welcome:
            if event.event_id in accepted.limited:
                metrics.ACCEPTED.labels(platform=event.source.platform, outcome="limited").inc()
            else:
                taken.setdefault(session_key(event.source), []).append(event)
        if taken:
            known = _record(taken, accepted)
            charge.give_back(known)


def _record(welcome: dict[str, list[InboundEvent]], accepted: Accepted) -> set[str]:
    """Writes the rows of events by session, and answers refused ones; yields the ids of those that were known."""
    counts = {key: len(events) for key, events in welcome.items()}
    readings = {
        event.event_id: control.read(event.text, source=event.source) for events in welcome.values() for event in events
    }
    if reached := {reading.reaches for reading in readings.values()} - {""}:
        lanes.lock(kind=LaneKind.TURNS, keys=reached)
    put, open_counts, found = execute(
        lanes.putting(kind=LaneKind.TURNS, counts=counts), _counting_open(welcome), reading_sessions(welcome)
    )
    places = lanes.places(put)
    depths: dict[int, int] = {lane_id: count for lane_id, count, _ in open_counts}
    held = {place.lane_id for place in places.values() if place.is_held}
    # No worker is at them: they wait for a person, or the worker has died.
    parked = {lane_id for lane_id, _, turn_id in open_counts if turn_id is not None and lane_id not in held}
    asked = _asked(parked)
    sessions = opened_sessions(found, {key: events[0].source for key, events in welcome.items()})
    sources = [event.source for events in welcome.values() for event in events]
    channels.note(sources)
    people.note(sources)

    values: list[Sequence[Value]] = []
    refusals: dict[str, Answer] = {}
    controls: dict[str, tuple[Control | Clarification, int]] = {}
    leaving: dict[str, int] = {}
    waiting: set[str] = set()
    interrupting: dict[tuple[str, str], Statement] = {}
    for key, events in welcome.items():
        place = places[key]
        depth = depths.get(place.lane_id, 0)
        seq = place.tail - len(events)
        for event in events:
            seq += 1
            source = event.source
            questions = asked.get(place.lane_id)
            reading = readings[event.event_id]
            if questions and not event.attachments:
                reading = control.read(event.text, source=source, asked=questions)
            if event.attachments:
                reading = _patient(reading)
            reason = _refusal(event, depth=depth if reading.waits else 0)
            state = InboundState.DONE
            if reason:
                refusals[event.event_id] = Answer(key=f"refused/{place.lane_id}/{seq}", text=reason)
                state = InboundState.REFUSED
            elif reading.waits:
                waiting.add(event.event_id)
                depth += 1
                state = InboundState.WAITING
                if reading.mode is BusyMode.INTERRUPT:
                    stop = stopping.interrupting(session_key=key, user_id=source.user_id, after=seq - 1)
                    interrupting.setdefault((key, source.user_id), stop)
            if reading.control and not reason:
                controls[event.event_id] = reading.control, seq
            elif reading.leaves and any(answering.is_theirs(question, source) for question in questions or ()):
                leaving[event.event_id] = seq
            values.append(
                (
                    source.platform, source.account, event.event_id, place.lane_id, seq, json.dumps(source.to_json()),
                    source.user_id, reading.text[: settings.INBOX_MAX_CHARS], event.message_id, state.value, reason,
                    reading.mode.value, _attachments(event),
                )
            )  # fmt: skip
    inserting = insert(
        InboundMessage,
        columns=(
            "platform", "account", "event_id", "lane_id", "seq", "source", "user_id", "text", "message_id", "state",
            "reason", "busy_mode", "attachments",
        ),
        rows=values,
        returning=("event_id",),
        ignore_conflicts=True,
    )  # fmt: skip
    accepted.event_ids = {event_id for (event_id,) in execute(inserting, *interrupting.values())[0]}

    for key, events in welcome.items():
        rings = False
        for event in events:
            outcome = "accepted"
            if event.event_id not in accepted.event_ids:
                outcome = "duplicate"
            elif event.event_id in refusals:
                outcome = "refused"
                accepted.refused[event.event_id] = refusals[event.event_id].text
                _answer(event, refusals[event.event_id])
            else:
                # What is taken at once may let a parked turn go on.
                rings = rings or event.event_id in waiting or places[key].lane_id in parked
                if event.event_id in leaving:
                    stopping.ask(session_key=key, by=event.source, before=leaving[event.event_id])
                if event.event_id in controls:
                    found_control, seq = controls[event.event_id]
                    context = context_of(event.source, session_id=sessions[key].session_id)
                    reply = found_control.reply(context=context, place=seq)
                    accepted.rings += reply.rings
                    if reply.text:
                        _answer(event, Answer(key=f"control/{places[key].lane_id}/{seq}", text=reply.text))
                        accepted.chats.append(_chat_of(event))
            metrics.ACCEPTED.labels(platform=event.source.platform, outcome=outcome).inc()
        if rings and not places[key].is_held:
            accepted.rings.append(context_of(events[-1].source, session_id=sessions[key].session_id))
    return {event.event_id for events in welcome.values() for event in events} - accepted.event_ids


def _patient(reading: control.Reading) -> control.Reading:
    """What comes with files waits: fetching them takes time, and the rest of an album may still be on its way."""
    is_hasty = reading.mode in (BusyMode.STEER, BusyMode.INTERRUPT)
    return replace(reading, mode=BusyMode.COLLECT) if is_hasty else reading


def _attachments(event: InboundEvent) -> str | None:
    return json.dumps([each.to_json() for each in event.attachments]) if event.attachments else None


def _counting_open(keys: Collection[str]) -> Statement:
    # The states are written out so that SQLite, too, sees that the partial index `inbound_open` serves.
    return Statement(
        f"SELECT lane_id, count(*), max(turn_id) FROM {TABLE} WHERE lane_id IN (SELECT id FROM {lanes.TABLE}"
        f" WHERE kind = %s AND key IN ({', '.join(['%s'] * len(keys))})) AND state IN ('waiting', 'running')"
        " GROUP BY lane_id",
        [LaneKind.TURNS.value, *keys],
    )


def _asked(parked: Collection[int]) -> dict[int, list[Question]]:
    """By lane, what a person may have seen that its turn asks. Costs nothing where no turn is parked."""
    found: dict[int, list[Question]] = {}
    for question in answering.seen(answering.pending(lane_ids=parked)) if parked else ():
        found.setdefault(question.lane_id, []).append(question)
    return found


def _refusal(event: InboundEvent, *, depth: int) -> str:
    if len(event.text) > settings.INBOX_MAX_CHARS:
        return (
            f"That message is too long for me: it has {len(event.text):,} characters and I can take"
            f" {settings.INBOX_MAX_CHARS:,}. Please send it in pieces."
        )
    if depth >= settings.LANE_MAX_DEPTH:
        return (
            f"I am still busy with {depth} messages of yours, so I did not take this one."
            " Please send it again when I have caught up."
        )
    return ""


def _chat_of(event: InboundEvent) -> str:
    source = event.source
    return delivery_key(platform=source.platform, account=source.account, chat_id=source.chat_id)


def _answer(event: InboundEvent, answer: Answer) -> None:
    source = event.source
    outbox.enqueue(
        outbox.Draft(
            key=answer.key,
            platform=source.platform,
            account=source.account,
            chat_id=source.chat_id,
            thread_id=source.thread_id,
            reply_to=event.message_id,
            text=answer.text,
        )
    )


def _record_unreadable(unreadable: Sequence[UnreadableEvent]) -> None:
    if not unreadable:
        return
    execute(
        insert(
            InboundMessage,
            columns=("platform", "account", "event_id", "source", "user_id", "text", "message_id", "state", "reason"),
            rows=[
                (event.platform, event.account, event.event_id, "{}", "", "", "", "rejected", clean(event.reason))
                for event in unreadable
            ],
            ignore_conflicts=True,
        )
    )
    for event in unreadable:
        metrics.ACCEPTED.labels(platform=event.platform, outcome="unreadable").inc()
        log.warning("Could not read %s event %s: %s", event.platform, event.event_id, event.reason)


def _cleaned(event: InboundEvent) -> InboundEvent:
    text = clean(event.text)
    if text == event.text:
        return event
    return replace(event, text=text)


def clean(text: str) -> str:
    """`text` as any database and any model server takes it: no NUL, no half of a surrogate pair."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8") if _has_surrogate(text) else text


def _has_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
