"""The messages that wait in a session's lane: how they are read, and which of them go together."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from gateway_app.agent import prompt
from gateway_app.commands.invocation import Invocation, invoked
from gateway_app.media.attachment import Attachment
from gateway_app.models import InboundMessage
from gateway_app.models.inbox import BusyMode
from gateway_app.sessions.key import is_shared
from gateway_app.sessions.source import SessionSource
from gateway_app.statements import Row, Sql, Statement, execute

INBOX = InboundMessage._meta.db_table
COLUMNS = "id, source, coalesce(asks, text), message_id, busy_mode, accepted_at, attachments, turn_id"
"""Of a message, for `read()`."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One open message of the lane."""

    row_id: int
    source: SessionSource
    text: str
    message_id: str
    mode: BusyMode
    accepted_at: datetime | str | None = None
    """As the database has it."""
    attachments: tuple[Attachment, ...] = ()

    @property
    def invocation(self) -> Invocation | None:
        """The command that the message is, if it is one."""
        return invoked(self.text, source=self.source)


def read(row: Row) -> Waiting:
    """The message of a row of COLUMNS."""
    row_id, source, text, message_id, mode, accepted_at, attachments, _ = row
    origin = SessionSource.from_json(json.loads(source))
    files = tuple(map(Attachment.from_json, json.loads(attachments))) if attachments else ()
    return Waiting(row_id, origin, text, message_id, BusyMode(mode), accepted_at, files)


def coming(*, lane: Sql, before: int) -> list[Waiting]:
    """What the lane's next turn would take of what came `before` this place, where no turn runs."""
    (found,) = execute(
        Statement(
            f"SELECT {COLUMNS} FROM {INBOX}"
            f" WHERE lane_id = ({lane.sql}) AND state = 'waiting' AND seq < %s ORDER BY seq",
            [*lane.values, before],
        )
    )
    return collected([read(row) for row in found]) if found else []


def of_albums(albums: Collection[str], *, lane_id: int, participant: str) -> list[Waiting]:
    """What waits of these albums, from whoever sent the rest of them."""
    (found,) = execute(
        Statement(
            f"SELECT {COLUMNS} FROM {INBOX} WHERE lane_id = %s AND state = 'waiting' AND attachments IS NOT NULL"
            " ORDER BY seq",
            [lane_id],
        )
    )
    waiting = [message for message in map(read, found) if message.source.participant == participant]
    return [message for message in waiting if any(each.album in albums for each in message.attachments)]


def to_steer(*, lane_id: int, participant: str) -> list[Waiting]:
    """The person's messages in the mode `steer`, up to one with files, of which they may speak.

    A command is a turn of its own also there.
    """
    (found,) = execute(
        Statement(
            f"SELECT {COLUMNS} FROM {INBOX} WHERE lane_id = %s AND state = 'waiting' AND busy_mode = %s"
            f" AND NOT EXISTS (SELECT 1 FROM {INBOX} other WHERE other.lane_id = {INBOX}.lane_id"
            f" AND other.state = 'waiting' AND other.seq < {INBOX}.seq AND other.attachments IS NOT NULL)"
            " ORDER BY seq",
            [lane_id, BusyMode.STEER.value],
        )
    )
    waiting = [message for message in map(read, found) if message.source.participant == participant]
    return [message for message in waiting if not message.invocation]


def collected(waiting: list[Waiting]) -> list[Waiting]:
    """What the next turn takes: a command or a queued message by itself, or all that waits, up to one of these or
    another person's message.

    One person's request never runs under another's identity, also where several write in one session.
    """
    first, *rest = waiting
    if _is_alone(first):
        return [first]
    who = first.source.participant
    more = itertools.takewhile(lambda message: message.source.participant == who and not _is_alone(message), rest)
    return [first, *more]


def _is_alone(message: Waiting) -> bool:
    return message.mode is BusyMode.QUEUE or message.invocation is not None


def said(message: Waiting) -> str:
    """The message as the model gets it."""
    if not is_shared(message.source):
        return message.text
    return f"[{prompt.sender(message.source)}] {message.text}"
