"""Memory of one session: what may be read and written, with the ids that belong to the session and to nobody else.

Every id comes from the context that the manager was made with. None comes from a model or from what people write, but
for the id of a conclusion to delete, and that counts only where the person's own list has it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gateway_app.agent.tool_error import ToolError
from gateway_app.config import live as gateway
from gateway_app.sessions.source import SessionContext
from gateway_app.worker.database import in_database

from . import client, fences, generations
from .client import Pool
from .configuration import HonchoConfig
from .errors import HonchoError, HonchoErrorKind
from .names import ai_peer_name, checked_id, is_private, peer_name, session_name, workspace_name
from .opening import open_session

if TYPE_CHECKING:
    from honcho import Honcho
    from honcho.conclusions import ConclusionsView
    from honcho.peer import Peer
    from honcho.session import Session

T = TypeVar("T")

NOT_ACTIVE = "Honcho is not active for this session."
NOT_PRIVATE = "Not here: others read along. This is for direct messages alone."
LONGEST_FACT = 500
MOST_FACTS = 100
LONGEST_CONCLUSION = 8_000
"""Characters; the server takes as many tokens."""
PAGE = 100
MOST_PAGES = 20
"""Of conclusions that are looked through for one."""
COMPARED = 100
"""Newest conclusions among which an equal one is looked for before another is made."""


class Whom(StrEnum):
    """Whom memory is about."""

    USER = "user"
    AI = "ai"


class Excerpt(NamedTuple):
    """A message that was found."""

    is_own_session: bool
    who: str
    """`user`, `ai`, or `other` for somebody else in a session that the person took part in."""
    when: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """What is known, for one session's model."""

    summary: str
    representation: str
    card: tuple[str, ...]
    messages: tuple[Excerpt, ...]


class Conclusion(NamedTuple):
    id: str
    content: str


class HonchoSessionManager:
    """Memory of one Honcho session key, for one of the people who write in it. Its methods are coroutines.

    What is known of a person is kept in the slot that belongs to them and is read from there: (person, person), and
    (person, agent) for how the agent is to be with them. In a direct message all of it is within reach. Where others
    read along, only what belongs to this very session is.

    Methods raise `HonchoError`, and `ToolError` for what is not to be had here.
    """

    def __init__(self, *, context: SessionContext, config: HonchoConfig) -> None:
        self.honcho_session_key = context.honcho_session_key
        self.session_id = context.session_id
        self.config = config
        self.workspace = checked_id(workspace_name(context, config))
        self.user_peer = checked_id(peer_name(context, config))
        self.ai_peer = checked_id(ai_peer_name(config))
        self.is_private = is_private(context)
        self.is_shut_down = False

    def shutdown(self) -> None:
        """Ends the manager with its session: whoever still holds it is refused from now on."""
        self.is_shut_down = True

    # --- Cards -------------------------------------------------------------------------------------------------

    async def profile(self, whom: Whom) -> list[str]:
        """The card: short facts about `whom`."""
        self._require_private()

        def read(memory: Memory) -> list[str]:
            return memory.user.get_card(target=memory.target(whom)) or []

        return await self._read(read, nothing=[])

    async def set_profile(self, whom: Whom, facts: Sequence[str]) -> list[str]:
        """Replaces the card; no facts clear it. Doing it again does nothing more."""
        self._require_private()
        card = [fact for fact in (" ".join(fences.stripped(fact).split()) for fact in facts) if fact]
        if len(card) > MOST_FACTS or any(len(fact) > LONGEST_FACT for fact in card):
            raise ToolError(f"The card may have {MOST_FACTS} facts of {LONGEST_FACT} characters each.")

        def write(memory: Memory) -> list[str]:
            memory.open()
            memory.user.set_card(card, target=memory.target(whom))
            return card

        return await self._write(write)

    # --- Messages ----------------------------------------------------------------------------------------------

    async def search(self, query: str, *, limit: int, whom: Whom | None = None) -> list[Excerpt]:
        """Messages near to `query`: of sessions that the person took part in, or of this one alone where others read
        along. With `whom` only what that one said.
        """

        def read(memory: Memory) -> list[Excerpt]:
            filters: dict[str, object] = {"peer_perspective": self.user_peer}
            if not self.is_private:
                filters["session_id"] = memory.session.id
            if whom:
                filters["peer_id"] = self._peer(whom)
            found = memory.honcho.search(query, filters=filters, limit=limit)
            return [self._excerpt(message, memory.session.id) for message in found if self._may_see(message, memory)]

        return await self._read(read, nothing=[])

    async def context(
        self, whom: Whom = Whom.USER, *, tokens: int, query: str = "", max_conclusions: int = 20
    ) -> Recollection:
        """What is known of `whom`, and what this session was about. The server does not keep to `tokens`: cut what is
        shown.
        """
        about: dict[str, Any] = {"peer_target": self._peer(whom), "max_conclusions": max_conclusions}
        if whom is Whom.AI:
            about["peer_perspective"] = self.user_peer
        if query:
            about |= {"search_query": query, "search_top_k": max_conclusions}

        def read(memory: Memory) -> Recollection:
            found = memory.session.context(summary=True, tokens=tokens, limit_to_session=not self.is_private, **about)
            return Recollection(
                summary=found.summary.content if found.summary else "",
                representation=found.peer_representation or "",
                # A card says nothing of where it is from, so that it is the person's own affair.
                card=tuple(found.peer_card or ()) if self.is_private else (),
                messages=tuple(self._excerpt(message, memory.session.id) for message in found.messages),
            )

        return await self._read(read, nothing=Recollection(summary="", representation="", card=(), messages=()))

    async def reasoning(self, query: str, *, level: str, whom: Whom = Whom.USER) -> str:
        """What Honcho's own model answers. Takes as long as HERMES_HONCHO_REASONING_TIMEOUT_SECONDS."""
        self._require_private()
        seconds = gateway.config().honcho.reasoning_timeout_seconds

        def ask(memory: Memory) -> str:
            target = memory.target(whom)
            return memory.user.chat(query, target=target, reasoning_level=level, timeout=seconds) or ""

        return await self._call(ask, pool=Pool.REASONING, seconds=seconds)

    # --- Conclusions -------------------------------------------------------------------------------------------

    async def conclude(self, whom: Whom, text: str) -> Conclusion:
        """Writes down a conclusion about `whom`; one that is there already stays as it is, so that doing it again after
        an unknown outcome does nothing more.
        """
        text = fences.stripped(text).strip()
        if not 0 < len(text) <= LONGEST_CONCLUSION:
            raise ToolError(f"conclusion has {len(text):,} characters; allowed: 1 to {LONGEST_CONCLUSION:,}.")

        def write(memory: Memory) -> Conclusion:
            memory.open()
            slot = memory.slot(whom)
            for known in slot.list(size=COMPARED, session=self._limit(memory)).items:
                if known.content == text:
                    return Conclusion(known.id, known.content)
            made = slot.create([{"content": text, "session_id": memory.session.id}])[0]
            return Conclusion(made.id, made.content)

        return await self._write(write)

    async def conclusions(self, whom: Whom, *, query: str = "", limit: int = 20) -> list[Conclusion]:
        """The newest conclusions about `whom`, or those near to `query`."""

        def read(memory: Memory) -> list[Conclusion]:
            slot, session = memory.slot(whom), self._limit(memory)
            if query:
                filters = {"session_id": session} if session else None
                found = slot.query(query, top_k=limit, filters=filters)
            else:
                found = slot.list(size=limit, session=session).items
            return [Conclusion(each.id, each.content) for each in found if self._is_own(each, whom, session)]

        return await self._read(read, nothing=[])

    async def delete_conclusion(self, whom: Whom, conclusion_id: str) -> bool:
        """Deletes a conclusion that this person's own list has; false where it has no such one.

        Raises ValueError for what is no id. The server itself deletes whatever it is told to, whosever it is.
        """
        checked_id(conclusion_id)

        def write(memory: Memory) -> bool:
            slot, session = memory.slot(whom), self._limit(memory)
            for number in range(1, MOST_PAGES + 1):
                page = slot.list(page=number, size=PAGE, session=session)
                if any(each.id == conclusion_id and self._is_own(each, whom, session) for each in page.items):
                    slot.delete(conclusion_id)
                    return True
                if not page.has_next_page():
                    return False
            return False

        try:
            return await self._write(write)
        except HonchoError as error:
            if error.kind is HonchoErrorKind.NOT_FOUND:
                return False
            raise

    # --- How calls are made ------------------------------------------------------------------------------------

    async def _read(self, function: Callable[[Memory], T], *, nothing: T) -> T:
        """The result of `function`; `nothing` where the server has not heard of who is asked about."""
        try:
            return await self._call(function, seconds=gateway.config().honcho.read_timeout_seconds)
        except HonchoError as error:
            if error.kind is HonchoErrorKind.NOT_FOUND:
                return nothing
            raise

    async def _write(self, function: Callable[[Memory], T]) -> T:
        seconds = gateway.config().honcho.write_timeout_seconds
        return await self._call(function, pool=Pool.WRITING, seconds=seconds)

    async def _call(self, function: Callable[[Memory], T], *, pool: Pool = Pool.READING, seconds: float) -> T:
        if self.is_shut_down:
            raise ToolError(NOT_ACTIVE)
        name = await in_database(self.session_name)
        return await client.run_in(pool, seconds, functools.partial(self._in_thread, function, pool, name))

    def _in_thread(self, function: Callable[[Memory], T], pool: Pool, name: str) -> T:
        made = client.writing(self.workspace) if pool is Pool.WRITING else client.reading(self.workspace)
        return function(Memory(made, manager=self, session_name=name))

    def session_name(self) -> str:
        """The Honcho session of the key, by the database: another process may have had it forgotten."""
        return session_name(self.honcho_session_key, generation=generations.generation(self.honcho_session_key))

    # --- Whose is what -----------------------------------------------------------------------------------------

    def _peer(self, whom: Whom) -> str:
        return self.ai_peer if whom is Whom.AI else self.user_peer

    def _require_private(self) -> None:
        if not self.is_private:
            raise ToolError(NOT_PRIVATE)

    def _limit(self, memory: Memory) -> str | None:
        """The session that conclusions must be of; None where all of the person's are within reach."""
        return None if self.is_private else str(memory.session.id)

    def _is_own(self, found: Any, whom: Whom, session: str | None) -> bool:
        """Whether a conclusion is of the slot and the session that were asked for, whatever the server gave."""
        is_slot = (found.observer_id, found.observed_id) == (self.user_peer, self._peer(whom))
        return is_slot and session in (None, found.session_id)

    def _may_see(self, message: Any, memory: Memory) -> bool:
        return self.is_private or message.session_id == memory.session.id

    def _excerpt(self, message: Any, session: str) -> Excerpt:
        who = {self.user_peer: Whom.USER.value, self.ai_peer: Whom.AI.value}.get(message.peer_id, "other")
        return Excerpt(message.session_id == session, who, message.created_at.isoformat(), message.content)


class Memory:
    """The SDK's objects for one call of a manager, in the thread that makes it. Making them asks the server nothing."""

    def __init__(self, honcho: Honcho, *, manager: HonchoSessionManager, session_name: str) -> None:
        from honcho.peer import Peer
        from honcho.session import Session

        self.honcho = honcho
        self.session: Session = Session(checked_id(session_name), honcho)
        self.user: Peer = Peer(manager.user_peer, honcho)
        self._manager = manager

    def target(self, whom: Whom) -> str | None:
        """Whom the person's card and view are of; None is themselves."""
        return self._manager.ai_peer if whom is Whom.AI else None

    def slot(self, whom: Whom) -> ConclusionsView:
        target = self.target(whom)
        return self.user.conclusions_of(target) if target else self.user.conclusions

    def open(self) -> None:
        """Has the session and its peers made, if nobody has: what is written must find them."""
        manager = self._manager
        open_session(self.honcho, self.session.id, users=[manager.user_peer], config=manager.config)
