"""The outbox: what is to be sent, row by row, in each chat's order.

Rows are written in the transaction that decides on them (`enqueue`), sent by whoever holds the chat's delivery
lane, and taken one at a time from the lane's head (`taking_head`), which records the attempt before it is made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from gateway_app import clock, lanes, metrics
from gateway_app.lanes import Bid, Claim
from gateway_app.models import MediaFile, OutboundPart, SendGate
from gateway_app.models.lane import LaneKind
from gateway_app.models.outbox import OPEN_STATES, OutboundState
from gateway_app.platforms import registry
from gateway_app.platforms.base import OutgoingPart
from gateway_app.sealing import seal
from gateway_app.sessions.key import delivery_key
from gateway_app.statements import Row, Sql, Statement, Value, execute, insert
from gateway_app.steps import Road, fenced_step

from .backoff import wait_before

TABLE = OutboundPart._meta.db_table
GATE = SendGate._meta.db_table
ERASING = ", text = ''"
"""Goes into the statement that ends a sealed part."""


@dataclass(frozen=True, slots=True)
class Place:
    """A message of ours in the chat that a draft's first part is to take the place of.

    Where something was put into the chat after `seq`, the part is sent anew, below it, and the message deleted; without
    a `seq` it never is. A message that `is_lost` is deleted in any case: what it will show is not known. So it is where
    the first part is a file, which no edit makes of a text.
    """

    message_id: str
    seq: int | None = None
    is_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A text for a chat, not yet in the outbox. `key` names it for ever; its parts are `key/0`, `key/1` …"""

    key: str
    platform: str
    account: str
    chat_id: str
    thread_id: str = ""
    reply_to: str = ""
    text: str
    turn_id: int | None = None
    files: Sequence[MediaFile] = ()
    """Sent after the text, each as a part of its own. The platform must take files."""
    buttons: str = ""
    """As JSON: the label and the value of each button below the text's last part, where the platform has some."""
    is_secret: bool = False
    """The text is sealed while it waits, and erased when it was sent or given up."""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The part to send now, its attempt already recorded."""

    platform: str
    part: OutgoingPart
    is_sealed: bool = False
    """The part's text is still sealed."""


class Posting:
    """A draft on its way into the outbox: the statements that put it there, and what came of them.

    With `and_claim` the chat's lane is also claimed if it is free, and its head taken, so that the caller can send
    at once. The statements must run in one transaction.
    """

    def __init__(self, draft: Draft, *, and_claim: bool = False) -> None:
        platform = registry.get(draft.platform)
        if draft.is_secret and not platform.is_pushed:
            raise ValueError(f"A secret for {draft.platform}, which shows what stands in the outbox.")
        contents: list[tuple[str, int | None]] = [(text, None) for text in platform.split(draft.text)]
        contents += [(f"[{file.kind}: {file.name}]", file.pk) for file in draft.files]
        key = delivery_key(platform=draft.platform, account=draft.account, chat_id=draft.chat_id)
        self._bid = lanes.bid(kind=LaneKind.DELIVERY, key=key)
        self._claims = and_claim and platform.is_pushed and bool(contents)
        self.statements: list[Statement] = []
        if not contents:
            return
        if self._claims:
            self.statements.append(lanes.putting_and_claiming(self._bid, count=len(contents)))
        else:
            counts = {key: len(contents)}
            self.statements.append(lanes.putting(kind=LaneKind.DELIVERY, counts=counts, is_rung=platform.is_pushed))
        self.statements.append(_inserting(draft, contents, place=self._bid))
        if self._claims:
            self.statements.append(taking_head(lanes.lane_of(self._bid)))

    def outcome(self, found: list[list[Row]]) -> tuple[Claim | None, Head | None]:
        """The claim and the head taken under it, from the rows of the statements. Must run in their transaction."""
        claim = lanes.claimed_by_put(self._bid, found[0]) if self._claims else None
        if claim is None:
            return None, None
        head = taken_head(found[-1])
        if head is None or is_worn_out(head):
            head = take_next(claim, head)
        return claim, head


def enqueue(draft: Draft) -> None:
    """Writes the parts of `draft`; must run in a transaction. They are sent when their chat's lane is rung."""
    statements = Posting(draft).statements
    if statements:
        execute(*statements)


def _inserting(draft: Draft, contents: list[tuple[str, int | None]], *, place: Bid) -> Statement:
    rows = []
    last_text = sum(media_id is None for _, media_id in contents) - 1
    for number, (text, media_id) in enumerate(contents):
        lane_id, seq = lanes.place_of(place, back=len(contents) - 1 - number)
        rows.append(
            (
                lane_id, seq, f"{draft.key}/{number}", draft.platform, draft.account, draft.chat_id, draft.thread_id,
                draft.reply_to if number == 0 else "", seal(text) if draft.is_secret else text, draft.is_secret,
                draft.turn_id, OutboundState.WAITING.value, 0, media_id,
                draft.buttons if number == last_text else "",
                *(_taking_place(draft.place if number == 0 else None, media_id, before=seq) if draft.place else ()),
            )
        )  # fmt: skip
    columns = (
        "lane_id", "seq", "idempotency_key", "platform", "account", "chat_id", "thread_id", "reply_to", "text",
        "is_sealed", "turn_id", "state", "attempts", "media_id", "buttons",
        *(("replaces", "removes") if draft.place else ()),
    )  # fmt: skip
    return insert(OutboundPart, columns=columns, rows=rows)


def _taking_place(place: Place | None, media_id: int | None, *, before: Sql) -> tuple[Value | Sql, Value | Sql]:
    """The values of `replaces` and `removes` for a part, maybe of a file, whose place in the chat is `before`."""
    if place is None:
        return "", ""
    if place.is_lost or media_id is not None:
        return "", place.message_id
    if place.seq is None:
        return place.message_id, ""
    values = [*before.values, place.seq + 1, place.message_id]
    return (
        Sql(f"CASE WHEN ({before.sql}) = %s THEN %s ELSE '' END", values),
        Sql(f"CASE WHEN ({before.sql}) = %s THEN '' ELSE %s END", values),
    )


def taking_head(lane: Sql) -> Statement:
    """Marks the first open part of the lane as being sent; read its row with `taken_head()`.

    It yields nothing where no part is open, or the first is not due, or its account's gate is closed. A part that is
    found as being sent was left so by a worker that died: that attempt's outcome is unknown. The attempt is recorded
    here, before it is made. Must run in a transaction in which the caller holds the lane.
    """
    now = clock.now()
    return Statement(
        f"UPDATE {TABLE} SET attempts = attempts + 1, state = 'sending',"
        " unknown_outcomes = unknown_outcomes + CASE WHEN state = 'sending' THEN 1 ELSE 0 END"
        f" WHERE id = (SELECT id FROM {TABLE} WHERE lane_id = ({lane.sql}) AND state IN ('waiting', 'sending')"
        " ORDER BY seq LIMIT 1)"
        f" AND (next_attempt_at IS NULL OR next_attempt_at <= {now})"
        f" AND NOT EXISTS (SELECT 1 FROM {GATE} gate WHERE gate.platform = {TABLE}.platform"
        f" AND gate.account = {TABLE}.account AND gate.closed_until > {now})"
        " RETURNING id, platform, idempotency_key, account, chat_id, thread_id, reply_to, text, attempts,"
        " unknown_outcomes, is_sealed, media_id, buttons, replaces, removes",
        lane.values,
    )


def taken_head(rows: list[Row]) -> Head | None:
    if not rows:
        return None
    (
        part_id, platform, key, account, chat_id, thread_id, reply_to, text, attempts, unknown, is_sealed, media_id,
        buttons, replaces, removes,
    ) = rows[0]  # fmt: skip
    part = OutgoingPart(
        part_id=part_id, idempotency_key=key, account=account, chat_id=chat_id, thread_id=thread_id,
        reply_to=reply_to, text=text, attempts=attempts, unknown_outcomes=unknown, replaces=replaces, removes=removes,
        media_id=media_id,
        buttons=tuple((label, value) for label, value in json.loads(buttons)) if buttons else (),
    )  # fmt: skip
    return Head(platform, part, bool(is_sealed))


def take_head(claim: Claim) -> Head | None:
    """The part to send now, by `taking_head()`; nothing where none is due."""
    return taken_head(execute(taking_head(Sql("%s", [claim.lane_id])))[0])


def is_worn_out(head: Head) -> bool:
    """Whether the part has had its attempts. Only crashes lead here: a send that fails is counted where it fails."""
    return head.part.attempts > settings.DELIVERY_MAX_ATTEMPTS


def take_next(claim: Claim, head: Head | None = None) -> Head | None:
    """The next part to send, or nothing, in which case the lane has been released.

    `head` is one that has been taken already. Must run in a transaction in which the caller holds the lane.
    """
    while True:
        head = head or take_head(claim)
        if head and is_worn_out(head):
            bury(head, reason=f"given up after {head.part.attempts - 1} attempts whose outcome is unknown")
            head = None
            continue
        if head or lanes.release(claim, wake_at=next_wake(claim)):
            return head
        lanes.hold(claim)


def _claim_of(claim: Claim, head: Head, *, platform_message_id: str) -> Claim:
    return claim


@fenced_step(claim_of=_claim_of)
def finish_sent(claim: Claim, head: Head, *, platform_message_id: str) -> Road[Head | None]:
    """Commits that the platform took the part, and takes the next; where none waits the lane is released.

    Raises `LaneLost`.
    """
    others = Sql(
        f"SELECT 1 FROM {TABLE} WHERE lane_id = %s AND state IN ('waiting', 'sending') AND id <> %s",
        [claim.lane_id, head.part.part_id],
    )
    held, _, taken = yield [
        lanes.holding_or_releasing(claim, open_items=others),
        _recording_sent(head, platform_message_id=platform_message_id),
        taking_head(Sql("%s", [claim.lane_id])),
    ]
    is_released = lanes.held_or_released(claim, held)
    following = taken_head(taken)
    if not is_released and (following is None or is_worn_out(following)):
        following = take_next(claim, following)
    return following


def _recording_sent(head: Head, *, platform_message_id: str) -> Statement:
    return Statement(
        f"UPDATE {TABLE} SET state = 'sent', platform_message_id = %s, error = '', finished_at = {clock.now()}"
        f"{ERASING if head.is_sealed else ''} WHERE id = %s",
        [platform_message_id[:255], head.part.part_id],
    )


def next_wake(claim: Claim) -> datetime | None:
    """When the lane's first open part is due; nothing where no part is open."""
    head = (
        OutboundPart.objects.filter(lane_id=claim.lane_id, state__in=OPEN_STATES)
        .order_by("seq")
        .values("next_attempt_at", "created_at", "platform", "account")
        .first()
    )
    if head is None:
        return None
    gate = SendGate.objects.filter(platform=head["platform"], account=head["account"]).first()
    moments = [head["next_attempt_at"] or head["created_at"]]
    if gate:
        moments.append(gate.closed_until)
    return max(moments)


def record_failed(
    head: Head, *, reason: str, permanent: bool, retry_after: float | None, closes_account: bool, unknown: bool = False
) -> None:
    """The send failed, or its outcome is unknown: it waits for its next attempt, or becomes a dead letter."""
    if permanent or head.part.attempts >= settings.DELIVERY_MAX_ATTEMPTS:
        bury(head, reason=reason)
        return
    wait = wait_before(attempt=head.part.attempts + 1, retry_after=retry_after)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET state = 'waiting', error = %s, next_attempt_at = {clock.later()},"
            " unknown_outcomes = unknown_outcomes + %s WHERE id = %s",
            [reason, wait, int(unknown), head.part.part_id],
        )
        if closes_account:
            cursor.execute(
                f"INSERT INTO {GATE} (platform, account, closed_until) VALUES (%s, %s, {clock.later()})"
                " ON CONFLICT (platform, account) DO UPDATE SET closed_until = CASE"
                f" WHEN excluded.closed_until > {GATE}.closed_until THEN excluded.closed_until"
                f" ELSE {GATE}.closed_until END",
                [head.platform, head.part.account, wait],
            )
    metrics.DELIVERIES.labels(platform=head.platform, outcome="unknown" if unknown else "failed").inc()


def bury(head: Head, *, reason: str) -> None:
    """The part becomes a dead letter, visible and replayable in the admin; the lane goes on.

    A sealed one is erased, and so cannot be replayed; its error says so.
    """
    if head.is_sealed:
        reason = f"{reason}; the text was a secret and is erased, so this cannot be sent again"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET state = 'dead', error = %s, finished_at = {clock.now()}"
            f"{ERASING if head.is_sealed else ''} WHERE id = %s",
            [reason, head.part.part_id],
        )
    metrics.DELIVERIES.labels(platform=head.platform, outcome="dead").inc()


def fetch(*, platform: str, account: str, chat_id: str) -> list[str]:
    """Takes what waits in a chat of a platform whose reader fetches its parts itself; texts in order."""
    key = delivery_key(platform=platform, account=account, chat_id=chat_id)
    with transaction.atomic():
        claim = lanes.claim(kind=LaneKind.DELIVERY, key=key)
        if claim is None:
            return []
        parts = OutboundPart.objects.filter(lane_id=claim.lane_id, state__in=OPEN_STATES).order_by("seq")
        texts = [part.shown_text for part in parts]
        parts.update(state=OutboundState.SENT, attempts=1, finished_at=timezone.now())
        lanes.release(claim)
    return texts
