"""The door for people nobody has let in: whose direct message is answered with a pairing code, and at what cost.

A process remembers whom it has just answered and which platforms have no place left, so that a flood of messages costs
a look into a dictionary each. Its memory only ever spares work: what holds over the fleet is decided by `pairing`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from gateway_app.access import pairing
from gateway_app.access.decision import Decision, Ground
from gateway_app.access.pairing import Asked, Outcome
from gateway_app.config import live
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.platforms import registry
from gateway_app.platforms.base import InboundEvent
from gateway_app.sessions.source import ChatType, SessionSource

REMEMBERED = 10_000
"""People a process keeps in mind; the first that were noted are forgotten first."""
CLOSED_SECONDS = 60.0
"""How long a platform without a place left, or locked, is not looked at again. An operator may have made room since."""
NOTICES = 5
"""People whom a process turns away with a notice in CLOSED_SECONDS; the others get none, and may ask again."""


@dataclass(slots=True)
class _Closed:
    """A platform on which nobody gets a code for the time being."""

    until: float
    notices: int
    """Notices that may still be sent."""


class Memory:
    """Whom this process need not ask the database about. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._people: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._closed: dict[str, _Closed] = {}

    def expects_silence(self, source: SessionSource) -> bool:
        """Whether a request would surely be met with silence. Where not, it costs a closed platform one notice."""
        now = time.monotonic()
        with self._lock:
            if now < self._people.get((source.platform, source.participant), 0.0):
                return True
            closed = self._closed.get(source.platform)
            if closed is None or now >= closed.until:
                return False
            closed.notices -= 1
            return closed.notices < 0

    def note(self, source: SessionSource, asked: Asked) -> None:
        """Remembers what came of a request."""
        now = time.monotonic()
        with self._lock:
            if asked.outcome is Outcome.LOCKED_OUT:
                self._closed[source.platform] = _Closed(now + min(asked.seconds, CLOSED_SECONDS), 0)
                return
            if not asked.seconds:
                return
            if asked.outcome is Outcome.ISSUED:
                self._closed.pop(source.platform, None)
            elif asked.outcome is Outcome.TURNED_AWAY and not self._is_closed(source.platform, now):
                self._closed[source.platform] = _Closed(now + CLOSED_SECONDS, NOTICES - 1)
            person = (source.platform, source.participant)
            self._people[person] = now + asked.seconds
            self._people.move_to_end(person)
            while len(self._people) > REMEMBERED:
                self._people.popitem(last=False)

    def forget(self) -> None:
        """Starts anew."""
        with self._lock:
            self._people.clear()
            self._closed.clear()

    def _is_closed(self, platform: str, now: float) -> bool:
        closed = self._closed.get(platform)
        return closed is not None and now < closed.until


memory = Memory()
"""This process's memory."""


def answer(events: Iterable[tuple[InboundEvent, Decision]]) -> list[str]:
    """Gives those who may have one a pairing code; `events` are denied, each with the decision that denied it.

    Returns the delivery lanes to be rung for. Each request is committed when this returns. Raises `django.db.Error`.
    """
    chats = []
    for event, decision in events:
        source = event.source
        is_unknown = decision.ground is Ground.NOTHING and source.chat_type is ChatType.DM
        if not is_unknown or memory.expects_silence(source) or not pairs(source.platform):
            continue
        asked = pairing.request(source=source, message_id=event.message_id, message_chars=len(event.text))
        memory.note(source, asked)
        if asked.chat:
            chats.append(asked.chat)
    return chats


def pairs(platform: str) -> bool:
    """Whether an unknown person's direct message on the platform is answered with a pairing code, or with nothing.

    The strongest that was said decides: the platform's own setting, the gateway's, the platform's policy for direct
    messages. Where nothing was said, a list of people or chats means that its owner wants no strangers.
    """
    if platform not in registry.names() or not registry.get(platform).can_pair:
        return False
    config = live.config()
    gateway = config.access
    own = gateway.platforms.get(platform) or PlatformAccess()
    if own.unauthorized_dm_behavior:
        return own.unauthorized_dm_behavior == "pair"
    if gateway.unauthorized_dm_behavior == "ignore" or own.dm_policy != "pairing":
        return False
    if config.is_given(f"{platform.upper()}_DM_POLICY"):
        return True
    lists = (own.allowed_users, own.allow_from, own.group_allow_from, own.group_allowed_chats, gateway.allowed_users)
    return not any(lists)
