"""The calls that put messages into a Honcho session, and find out which of them it has.

Synchronous, for the threads of `honcho_app.client`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_app.lanes import LaneLost
from gateway_app.sessions.source import ChatType, SessionSource

from . import client, configuration, names
from .errors import HonchoError, HonchoErrorKind
from .opening import open_session
from .writes import Batch, turn_name

if TYPE_CHECKING:
    from honcho import Session

PAGE = 100
"""Messages of one page; Honcho has no larger ones."""


@dataclass(frozen=True, slots=True)
class Place:
    """A session on the Honcho server."""

    workspace: str
    session: str


def place_of(batch: Batch, *, generation: int) -> Place:
    """Where the batch belongs, in this generation of its key's session."""
    at = batch.rows[0].session
    source = SessionSource(
        platform=at.platform, account=at.account, chat_id=at.chat_id, chat_type=ChatType(at.chat_type)
    )
    workspace = names.workspace_name(source, configuration.live())
    return Place(workspace, names.session_name(batch.key, generation=generation))


def join(place: Place, peers: Collection[str]) -> None:
    """Makes the session with these people and the agent in it, unless this process knows that it is there.

    Raises `HonchoError` of the kind `not_found` where the session was deleted.
    """
    open_session(client.writing(place.workspace), place.session, users=sorted(peers), config=configuration.live())


def post(place: Place, batch: Batch, *, is_ours: Callable[[], bool]) -> dict[int, str]:
    """Sends the batch in one request; returns Honcho's ids by the rows'.

    Raises `HonchoError`, also where it has become too late to send it, and `LaneLost` where it is another worker's by
    then, if `is_ours` says so.
    """
    from honcho.api_types import MessageCreateParams

    messages = [
        MessageCreateParams(
            content=row.content,
            peer_id=names.checked_id(row.peer),
            metadata={"turn_id": turn_name(row), "part": row.part},
            created_at=row.said_at,
        )
        for row in batch.rows
    ]
    session = _session(place)
    if time.monotonic() > batch.send_until:
        raise HonchoError(HonchoErrorKind.TIMEOUT)
    if not is_ours():
        raise LaneLost(f"the lease of the Honcho lane {batch.key} is over")
    stored = session.add_messages(messages)
    return {row.pk: message.id for row, message in zip(batch.rows, stored, strict=True)}


def find(place: Place, batch: Batch) -> dict[int, str]:
    """Honcho's ids of those of the batch that it has, by the rows'. Raises `HonchoError`."""
    rows = {(turn_name(row), row.part): row.pk for row in batch.rows}
    turns = sorted({turn for turn, _ in rows})
    found: dict[int, str] = {}
    for message in _session(place).messages(filters={"metadata": {"turn_id": {"in": turns}}}, size=PAGE):
        pk = rows.get((str(message.metadata.get("turn_id")), message.metadata.get("part")))
        if pk is not None:
            found.setdefault(pk, message.id)
    return found


def _session(place: Place) -> Session:
    from honcho import Session

    return Session(names.checked_id(place.session), client.writing(place.workspace))
