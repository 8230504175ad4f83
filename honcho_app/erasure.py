"""Has a person's memory forgotten: what this installation keeps, and what Honcho does, on every slot.

First a plan that changes nothing and says what would go (`plan()`). Carrying it out is one transaction here
(`forget_here()`), in which the audit row commits, and then calls to Honcho, each of which may be made again
(`forget_there()`): Honcho erases later than it says, so what is left is asked for until nothing is.

Sessions that nobody else wrote in are deleted with all that was concluded from them, and their keys go on under other
names. Honcho cannot delete a single message: what the person wrote where others wrote too stays there.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now

from gateway_app.access.audit import Actor, open_ledger
from gateway_app.agent import memory
from gateway_app.models import FlushStep, MemoryFlush, MemoryNote, Session, TranscriptMessage
from gateway_app.models.audit import AuditAction
from gateway_app.models.flush import FlushOutcome, FlushState
from gateway_app.models.memory import MemoryScope
from gateway_app.sessions.source import ChatType, SessionSource

from . import client, configuration, generations, names, recall_cache
from .errors import HonchoError, HonchoErrorKind
from .models import HonchoWrite

if TYPE_CHECKING:
    from honcho.conclusions import ConclusionsView
    from honcho.peer import Peer

PAGE = 100
POLL_SECONDS = 0.5
MOST_SHOWN = 20


class NotForgettable(Exception):
    """The person's memory cannot be told apart from others'."""


class Slot(NamedTuple):
    """What `observer` knows of `observed`, in a workspace."""

    workspace: str
    observer: str
    observed: str

    def __str__(self) -> str:
        return f"what {self.observer} knows of {self.observed} in {self.workspace}"


class There(NamedTuple):
    """A session on the server."""

    workspace: str
    name: str

    def __str__(self) -> str:
        return f"session {self.name} in {self.workspace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be forgotten of a person."""

    platform: str
    user_id: str
    slots: tuple[Slot, ...]
    keys: tuple[str, ...]
    """The Honcho session keys of conversations that nobody else wrote in."""
    sessions: tuple[There, ...]
    """What these stand for on the server, in all their generations."""
    shared: int
    """Conversations that others wrote in too: their messages stay."""
    notes: int
    flushes: int
    """That are not done."""
    writes: int
    """Messages that are kept for Honcho here, written or not."""
    also: tuple[str, ...] = ()
    """Other ids that honcho.json gives the same peer, and so the same memory."""

    @property
    def is_empty(self) -> bool:
        return not (self.keys or self.notes or self.shared)

    def as_json(self) -> dict[str, Any]:
        """For the audit: how much of what."""
        return {
            "sessions": len(self.keys),
            "peers": sorted({slot.observed for slot in self.slots}),
            "notes": self.notes,
            "flushes": self.flushes,
            "writes": self.writes,
        }


def plan(*, platform: str, user_id: str) -> Plan:
    """What there is of a person. Raises `NotForgettable` where everybody shares one memory."""
    config = configuration.live()
    if config.is_active and config.pin_user_peer and config.peer_name:
        raise NotForgettable(
            f"pinUserPeer in honcho.json makes everybody the peer {config.peer_name!r}, so that one person's memory"
            " cannot be told apart. Only all of it can be forgotten, on the Honcho server."
        )
    own = Session.objects.filter(platform=platform, user_id=user_id)
    found = list(own.values_list("session_key", "account").distinct().order_by("session_key"))
    keys = tuple(dict.fromkeys(key for key, _ in found))
    slots: list[Slot] = []
    sessions: list[There] = []
    for account in sorted({account for _, account in found}) if config.is_active else ():
        # No key is made of it: only who it is and where.
        who = SessionSource(platform=platform, account=account, chat_id="", chat_type=ChatType.DM, user_id=user_id)
        workspace, user, ai = (
            names.workspace_name(who, config),
            names.peer_name(who, config),
            names.ai_peer_name(config),
        )
        slots += [Slot(workspace, user, user), Slot(workspace, user, ai), Slot(workspace, ai, user)]
        for key in [key for key, of in found if of == account]:
            now = generations.generation(key)
            each = (names.session_name(key, generation=number) for number in range(generations.FIRST, now + 1))
            sessions += [There(workspace, name) for name in each]
    wrote = TranscriptMessage.objects.filter(session_id=OuterRef("pk"), user_id=user_id)
    return Plan(
        platform=platform,
        user_id=user_id,
        slots=tuple(dict.fromkeys(slots)),
        keys=keys,
        sessions=tuple(dict.fromkeys(sessions)),
        shared=Session.objects.filter(Exists(wrote), platform=platform, user_id="").count(),
        notes=_notes(platform, user_id, found).count(),
        flushes=_flushes(keys).count(),
        writes=_writes(keys).count(),
        also=tuple(
            sorted(
                alias
                for alias, peer in config.user_peer_aliases.items()
                if peer in {slot.observed for slot in slots} and alias not in (user_id, f"{platform}:{user_id}")
            )
        ),
    )


def forget_here(found: Plan, *, by: Actor, reason: str = "") -> None:
    """Forgets what is kept here, and has nothing more of it written to Honcho; audited in the same transaction.

    What was said stays in the transcripts, and no flush goes through it any more.
    """
    with transaction.atomic():
        ledger = open_ledger()
        accounts = Session.objects.filter(session_key__in=found.keys).values_list("session_key", "account").distinct()
        _notes(found.platform, found.user_id, list(accounts)).delete()
        open_flushes = _flushes(found.keys)
        FlushStep.objects.filter(flush__in=open_flushes).delete()
        # A flush that is under way loses its fence, and with it what it was about to save.
        open_flushes.update(
            state=FlushState.DONE,
            outcome=FlushOutcome.FORGOTTEN,
            fence=F("fence") + 1,
            lease_until=None,
            finished_at=Now(),
        )
        newest = TranscriptMessage.objects.filter(session_id=OuterRef("pk")).order_by().values("session_id")
        Session.objects.filter(session_key__in=found.keys).update(
            flushed_until=Coalesce(Subquery(newest.annotate(newest=Max("pk")).values("newest")), 0)
        )
        _writes(found.keys).delete()
        for key in found.keys:
            generations.begin_next(key)
        _forget_recalled(found)
        ledger.write(
            action=AuditAction.MEMORY_FORGOTTEN,
            by=by,
            platform=found.platform,
            subject=found.user_id,
            before=found.as_json(),
            reason=reason,
        )


def forget_there(found: Plan, *, seconds: float) -> list[str]:
    """Has Honcho forget the person, and asks for so long whether it has; returns what it still shows.

    Raises `HonchoError`. May be run again. Takes as many calls as there are sessions and conclusions.
    """
    for there in found.sessions:
        _known(functools.partial(_delete_session, there))
    for slot in found.slots:
        _known(functools.partial(_empty, slot))
    until = time.monotonic() + seconds
    left: list[There | Slot] = [*found.sessions, *found.slots]
    while left := [each for each in left if _known(functools.partial(_is_left, each))]:
        if time.monotonic() >= until:
            return [str(each) for each in left]
        time.sleep(POLL_SECONDS)
        for each in left:
            if isinstance(each, There):  # what was on its way as it was deleted may have made it anew
                _known(functools.partial(_delete_session, each))
    _forget_recalled(found)  # until now it could be fetched again
    return []


def _forget_recalled(found: Plan) -> None:
    """Forgets what was fetched of it to stand beside messages."""
    for key in found.keys:
        recall_cache.forget(key)
    for peer in {slot.observed for slot in found.slots if slot.observer == slot.observed}:
        recall_cache.forget_person(peer)


def _known(call: Callable[[], Any]) -> Any:
    """The call's result; None where the server does not know what it is about. Raises `HonchoError`."""
    try:
        return client.guarded(call)
    except HonchoError as error:
        if error.kind is HonchoErrorKind.NOT_FOUND:
            return None
        raise


def _delete_session(there: There) -> None:
    from honcho.session import Session as HonchoSession

    HonchoSession(names.checked_id(there.name), client.writing(there.workspace)).delete()


def _empty(slot: Slot) -> None:
    """Deletes the conclusions of a slot, and its card."""
    view = _view(slot)
    while items := view.list(size=PAGE).items:
        for each in items:
            _known(functools.partial(view.delete, names.checked_id(each.id)))
    peer, target = _peer(slot)
    if peer.get_card(target=target):
        peer.set_card([], target=target)


def _is_left(what: Slot | There) -> bool:
    if isinstance(what, There):
        from honcho.session import Session as HonchoSession

        found = HonchoSession(names.checked_id(what.name), client.writing(what.workspace)).messages(size=1)
        return bool(found.total)
    peer, target = _peer(what)
    return bool(_view(what).list(size=1).total or peer.get_card(target=target))


def _peer(slot: Slot) -> tuple[Peer, str | None]:
    """The observer, and whom its card is of; None is itself."""
    from honcho.peer import Peer

    observer = Peer(names.checked_id(slot.observer), client.writing(slot.workspace))
    return observer, None if slot.observer == slot.observed else names.checked_id(slot.observed)


def _view(slot: Slot) -> ConclusionsView:
    peer, target = _peer(slot)
    return peer.conclusions_of(target) if target else peer.conclusions


def _notes(platform: str, user_id: str, found: list[tuple[str, str]]) -> QuerySet[MemoryNote]:
    """The person's notes, on all accounts, and those of the conversations that are theirs alone."""
    owners = {memory.person(platform=platform, account=account, user_id=user_id) for _, account in found}
    return MemoryNote.objects.filter(
        Q(scope=MemoryScope.USER, owner__in=owners) | Q(scope=MemoryScope.SESSION, owner__in=[key for key, _ in found])
    )


def _flushes(keys: tuple[str, ...]) -> QuerySet[MemoryFlush]:
    return MemoryFlush.objects.exclude(state=FlushState.DONE).filter(honcho_session_key__in=keys)


def _writes(keys: tuple[str, ...]) -> QuerySet[HonchoWrite]:
    return HonchoWrite.objects.filter(session__session_key__in=keys)


def shown(found: Plan) -> Iterator[str]:
    """The plan in lines."""
    yield f"Here: {found.notes} notes, {found.writes} messages kept for Honcho, {found.flushes} flushes to come."
    yield f"On the Honcho server: {len(found.slots)} slots and {len(found.sessions)} sessions."
    for each in (*found.slots, *found.sessions)[:MOST_SHOWN]:
        yield f"  {each}"
    if (more := len(found.slots) + len(found.sessions) - MOST_SHOWN) > 0:
        yield f"  and {more} more"
    if found.also:
        yield f"The peer is also that of {', '.join(found.also)}: what is known of them goes too."
    if found.shared:
        yield f"{found.shared} sessions that others wrote in too stay: Honcho cannot delete single messages."
