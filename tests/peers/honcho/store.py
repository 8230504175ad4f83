"""What the Honcho peer keeps: workspaces with their peers, sessions, messages and conclusions."""

from __future__ import annotations

import itertools
import secrets
import string
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

OBSERVERS_MAX = 10
ID_ALPHABET = string.ascii_letters + string.digits + "_-"

Config = dict[str, bool | None]

_numbers = itertools.count(1)


class Refusal(Exception):
    """A call that the server refuses. `detail` is a text, or the list of a refused form's errors."""

    def __init__(self, detail: str | list[dict[str, Any]], *, status: int) -> None:
        super().__init__(detail)
        self.detail, self.status = detail, status
        self.headers: dict[str, str] = {}


def new_id() -> str:
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(21))


def now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def count_tokens(text: str) -> int:
    """About what a tokeniser says of English."""
    return -(-len(text) // 4)


@dataclass(slots=True)
class Peer:
    id: str
    workspace_id: str
    metadata: dict[str, Any] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    created_at: datetime = field(default_factory=now)
    cards: dict[str, list[str]] = field(default_factory=dict)
    """By the peer whom they are about: what this one knows."""

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "workspace_id": self.workspace_id, "created_at": stamp(self.created_at),
            "metadata": self.metadata, "configuration": self.configuration,
        }  # fmt: skip


@dataclass(slots=True)
class Member:
    """A peer in a session. One who left stays as a row, and keeps the configuration until the next joining."""

    config: Config
    is_active: bool = True


@dataclass(slots=True)
class Message:
    id: str
    content: str
    peer_id: str
    session_id: str
    workspace_id: str
    metadata: dict[str, Any]
    created_at: datetime
    number: int = field(default_factory=lambda: next(_numbers))
    """The order of insertion, which is the order of every list."""
    stored_at: float = field(default_factory=time.time)

    @property
    def token_count(self) -> int:
        return count_tokens(self.content)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "content": self.content, "peer_id": self.peer_id, "session_id": self.session_id,
            "metadata": self.metadata, "created_at": stamp(self.created_at), "workspace_id": self.workspace_id,
            "token_count": self.token_count,
        }  # fmt: skip


@dataclass(slots=True)
class Conclusion:
    id: str
    content: str
    observer_id: str
    observed_id: str
    session_id: str | None
    created_at: datetime = field(default_factory=now)
    number: int = field(default_factory=lambda: next(_numbers))

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "content": self.content, "observer_id": self.observer_id, "observed_id": self.observed_id,
            "session_id": self.session_id, "level": "explicit", "created_at": stamp(self.created_at),
        }  # fmt: skip


@dataclass(slots=True)
class Session:
    id: str
    workspace_id: str
    metadata: dict[str, Any] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    created_at: datetime = field(default_factory=now)
    is_active: bool = True
    deleted_at: float = 0.0
    members: dict[str, Member] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    derived: int = 0
    """How many of the messages the deriver has worked through."""

    def join(self, peer_id: str, config: Config, *, replaces: bool = False) -> None:
        """Adds a member. One who is there already keeps the old configuration, unless it `replaces` that."""
        member = self.members.get(peer_id)
        if member is None or not member.is_active or replaces:
            self.members[peer_id] = Member(dict(config))

    @property
    def active(self) -> list[str]:
        return [peer_id for peer_id, member in self.members.items() if member.is_active]

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "is_active": self.is_active, "workspace_id": self.workspace_id, "metadata": self.metadata,
            "configuration": self.configuration, "created_at": stamp(self.created_at),
        }  # fmt: skip


@dataclass(slots=True)
class Workspace:
    id: str
    metadata: dict[str, Any] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    created_at: datetime = field(default_factory=now)
    peers: dict[str, Peer] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    conclusions: list[Conclusion] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "metadata": self.metadata, "configuration": self.configuration,
            "created_at": stamp(self.created_at),
        }  # fmt: skip

    def peer(self, peer_id: str) -> Peer:
        """The peer, made where it is not there yet."""
        if peer_id not in self.peers:
            self.peers[peer_id] = Peer(peer_id, self.id)
        return self.peers[peer_id]

    def known_peer(self, peer_id: str) -> Peer:
        found = self.peers.get(peer_id)
        if found is None:
            raise Refusal(f"Peer {peer_id} not found in workspace {self.id}", status=404)
        return found

    def live_session(self, session_id: str) -> Session:
        """Raises Refusal where it is not there, or is about to be erased."""
        found = self.sessions.get(session_id)
        if found is None or not found.is_active:
            raise Refusal(f"Session {session_id} not found in workspace {self.id}", status=404)
        return found

    def session(self, session_id: str) -> Session:
        """The session, made where it is not there yet. Raises Refusal where it is about to be erased."""
        if session_id not in self.sessions:
            self.sessions[session_id] = Session(session_id, self.id)
        return self.live_session(session_id)

    def messages(self) -> list[Message]:
        """Those of all sessions, also of such as are about to be erased, in the order of insertion."""
        found = [message for session in self.sessions.values() for message in session.messages]
        return sorted(found, key=lambda message: message.number)

    def collection(self, *, observer: str, observed: str) -> list[Conclusion]:
        return [found for found in self.conclusions if (found.observer_id, found.observed_id) == (observer, observed)]

    def erase(self, session: Session) -> None:
        """What the worker does with a session that was deleted. Cards and conclusions without a session stay."""
        del self.sessions[session.id]
        self.conclusions = [found for found in self.conclusions if found.session_id != session.id]

    def derive(self, session: Session) -> None:
        """What the worker does with new messages: conclusions for each who observes their sender, and summaries.

        A conclusion says what its message said; there is no model here.
        """
        for message in session.messages[session.derived :]:
            sender = message.peer_id
            config = session.members[sender].config if sender in session.members else {}
            is_observed = config.get("observe_me")
            if is_observed is None:
                is_observed = self.peer(sender).configuration.get("observe_me")
            if is_observed is False:
                continue
            others = [name for name in session.active if session.members[name].config.get("observe_others")]
            for observer in dict.fromkeys([sender, *others]):
                found = Conclusion(new_id(), message.content, observer, sender, session.id)
                self.conclusions.append(found)
        session.derived = len(session.messages)
        for kind, each in (("short", 20), ("long", 60)):
            covered = session.derived - session.derived % each
            if covered:
                text = f"{kind} summary of {covered} messages, from {session.messages[0].content[:40]!r} on"
                session.summaries[kind] = {
                    "content": text, "message_id": session.messages[covered - 1].id, "summary_type": kind,
                    "created_at": stamp(now()), "token_count": count_tokens(text),
                }  # fmt: skip


class Store:
    """All workspaces, and what the server's worker has not come to yet."""

    def __init__(self) -> None:
        self.workspaces: dict[str, Workspace] = {}

    def workspace(self, workspace_id: str) -> Workspace:
        """The workspace, made where it is not there yet, as each of the server's writes does."""
        if workspace_id not in self.workspaces:
            self.workspaces[workspace_id] = Workspace(workspace_id)
        return self.workspaces[workspace_id]

    def read(self, workspace_id: str) -> Workspace:
        """The workspace as a reading call sees it: one that is not there is empty, and stays unmade."""
        return self.workspaces.get(workspace_id) or Workspace(workspace_id)

    def sweep(self, *, older_than: float) -> None:
        """Erases what was deleted before `older_than`."""
        for workspace in self.workspaces.values():
            for session in list(workspace.sessions.values()):
                if not session.is_active and session.deleted_at <= older_than:
                    workspace.erase(session)

    def derive(self) -> None:
        for workspace in self.workspaces.values():
            for session in workspace.sessions.values():
                if session.is_active:
                    workspace.derive(session)
