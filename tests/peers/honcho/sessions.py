"""The Honcho peer's calls about workspaces and sessions."""

from __future__ import annotations

import json
import time
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tests.peers.forms import SentFile
from tests.peers.honcho import recalling
from tests.peers.honcho.calls import Answer, Call, page
from tests.peers.honcho.filters import filtered
from tests.peers.honcho.forms import (
    CONTENT_MAX,
    UPLOAD_MAX_BYTES,
    ContextQuery,
    FiltersForm,
    Members,
    MessageForm,
    MessagesForm,
    MessageUpdateForm,
    Observation,
    QueueQuery,
    SearchForm,
    SessionForm,
    UpdateForm,
    UploadForm,
    WorkspaceForm,
    read,
    refused,
)
from tests.peers.honcho.store import OBSERVERS_MAX, Message, Refusal, Session, Store, Workspace, new_id, now

MEMBERS: TypeAdapter[dict[str, Observation]] = TypeAdapter(Members)
MEMBER_NAMES: TypeAdapter[list[str]] = TypeAdapter(list[str])


class SessionCalls:
    """Part of `HonchoPeer`."""

    _store: Store

    def get_or_create_workspace(self, call: Call) -> Answer:
        form = call.read(WorkspaceForm)
        is_new = form.id not in self._store.workspaces
        workspace = self._store.workspace(form.id)
        if is_new:
            workspace.metadata, workspace.configuration = form.metadata or {}, form.configuration or {}
        return Answer(workspace.as_json(), status=201 if is_new else 200)

    def list_workspaces(self, call: Call) -> Answer:
        return page(self._store.workspaces.values(), call)

    def update_workspace(self, call: Call) -> Answer:
        workspace = self._store.workspace(call.workspace)
        update(workspace, call.read(UpdateForm))
        return Answer(workspace.as_json())

    def delete_workspace(self, call: Call) -> Answer:
        workspace = self._store.workspaces.get(call.workspace)
        if workspace is None:
            raise Refusal(f"Workspace {call.workspace} not found", status=404)
        if workspace.sessions:
            raise Refusal(f"Cannot delete workspace '{workspace.id}': active session(s) remain", status=409)
        del self._store.workspaces[workspace.id]
        return Answer({"message": "Workspace deleted successfully"}, status=202)

    def search(self, call: Call) -> Answer:
        return Answer(recalling.search(self._store.read(call.workspace), call.read(SearchForm)))

    def queue_status(self, call: Call) -> Answer:
        """Counts messages that the deriver has not come to. Its sessions' keys are ids of its own."""
        query = call.read_query(QueueQuery)
        workspace = self._store.read(call.workspace)
        units = {}
        for session in workspace.sessions.values():
            if session.messages and query.session_id in (None, session.id):
                done, pending = session.derived, len(session.messages) - session.derived
                units[f"{hash(session.id) & 0xFFFFFFFF:08x}"] = {
                    "session_id": None, "total_work_units": done + pending, "completed_work_units": done,
                    "in_progress_work_units": 0, "pending_work_units": pending,
                }  # fmt: skip
        kinds = ("total", "completed", "in_progress", "pending")
        sums = {f"{kind}_work_units": sum(unit[f"{kind}_work_units"] for unit in units.values()) for kind in kinds}
        return Answer({**sums, "sessions": units or None})

    def get_or_create_session(self, call: Call) -> Answer:
        form = call.read(SessionForm)
        workspace = self._store.workspace(call.workspace)
        is_new = form.id not in workspace.sessions
        if not is_new:
            workspace.live_session(form.id)
        session = workspace.sessions.get(form.id) or Session(form.id, workspace.id)
        join(session, form.peers or {})
        for peer_id in form.peers or {}:
            workspace.peer(peer_id)
        workspace.sessions[session.id] = session
        if form.metadata is not None:
            session.metadata = form.metadata
        session.configuration |= form.configuration or {}
        return Answer(session.as_json(), status=201 if is_new else 200)

    def list_sessions(self, call: Call) -> Answer:
        form = call.read(FiltersForm)
        found = [session for session in self._store.read(call.workspace).sessions.values() if session.is_active]
        return page(filtered(found, form.filters, kind="session"), call)

    def update_session(self, call: Call) -> Answer:
        session = self._store.workspace(call.workspace).session(call.params["session"])
        update(session, call.read(UpdateForm))
        return Answer(session.as_json())

    def delete_session(self, call: Call) -> Answer:
        session = self._store.read(call.workspace).live_session(call.params["session"])
        session.is_active, session.deleted_at = False, time.time()
        return Answer({"message": "Session deleted successfully"}, status=202)

    def search_session(self, call: Call) -> Answer:
        found = recalling.search(
            self._store.read(call.workspace), call.read(SearchForm), session_id=call.params["session"]
        )
        return Answer(found)

    def context(self, call: Call) -> Answer:
        return Answer(
            recalling.context(self._store.read(call.workspace), call.params["session"], call.read_query(ContextQuery))
        )

    def summaries(self, call: Call) -> Answer:
        session = self._store.read(call.workspace).sessions.get(call.params["session"])
        found = session.summaries if session else {}
        summaries = {f"{kind}_summary": found.get(kind) for kind in ("short", "long")}
        return Answer({"id": call.params["session"], **summaries})

    # --- Members -----------------------------------------------------------------------------------------------

    def list_members(self, call: Call) -> Answer:
        workspace = self._store.read(call.workspace)
        session = workspace.sessions.get(call.params["session"])
        return page([workspace.peers[name] for name in session.active] if session else [], call)

    def add_members(self, call: Call) -> Answer:
        return self._join(call, replaces=False)

    def set_members(self, call: Call) -> Answer:
        return self._join(call, replaces=True)

    def remove_members(self, call: Call) -> Answer:
        names = read_body(MEMBER_NAMES, call)
        session = self._store.read(call.workspace).live_session(call.params["session"])
        for name in names:
            if name in session.members:
                session.members[name].is_active = False
        return Answer(session.as_json())

    def get_member_config(self, call: Call) -> Answer:
        workspace = self._store.read(call.workspace)
        member = workspace.live_session(call.params["session"]).members.get(call.params["peer"])
        config = member.config if member else {}
        return Answer({name: config.get(name) for name in ("observe_others", "observe_me")})

    def set_member_config(self, call: Call) -> Answer:
        form = call.read(Observation)
        workspace = self._store.read(call.workspace)
        session = workspace.live_session(call.params["session"])
        peer_id = workspace.known_peer(call.params["peer"]).id
        old = session.members[peer_id].config if peer_id in session.members else {}
        check_observers(session, {peer_id: form})
        session.join(peer_id, old | form.model_dump(exclude_unset=True), replaces=True)
        return Answer(status=204)

    def _join(self, call: Call, *, replaces: bool) -> Answer:
        members = read_body(MEMBERS, call)
        workspace = self._store.workspace(call.workspace)
        session = workspace.live_session(call.params["session"])
        if replaces:
            kept = Session(session.id, workspace.id)
            join(kept, members)
            for name, member in session.members.items():
                member.is_active = name in members
        for peer_id in members:
            workspace.peer(peer_id)
        join(session, members, replaces=replaces)
        return Answer(session.as_json())

    # --- Messages ----------------------------------------------------------------------------------------------

    def create_messages(self, call: Call) -> Answer:
        forms = call.read(MessagesForm).messages
        return Answer([message.as_json() for message in self._store_messages(call, forms)], status=201)

    def upload(self, call: Call) -> Answer:
        """A file as messages, split where one would be too long."""
        file = call.form.get("file")
        fields = {name: value for name, value in call.form.items() if name != "file"}
        if isinstance(fields.get("metadata"), str):
            fields["metadata"] = json.loads(fields["metadata"])
        form = read(UploadForm, fields)
        if not isinstance(file, SentFile):
            raise Refusal([{"type": "missing", "loc": ["body", "file"], "msg": "Field required"}], status=422)
        if len(file.body) > UPLOAD_MAX_BYTES:
            raise Refusal(f"File size ({len(file.body)} bytes) exceeds maximum allowed size", status=413)
        if not file.content_type.startswith("text/") and file.content_type != "application/json":
            raise Refusal(f"Unsupported file type: {file.content_type}", status=415)
        text = file.body.decode(errors="replace")
        pieces = [text[start : start + CONTENT_MAX] for start in range(0, len(text), CONTENT_MAX)]
        forms = [MessageForm(content=piece, **form.model_dump()) for piece in pieces]
        return Answer([message.as_json() for message in self._store_messages(call, forms)], status=201)

    def list_messages(self, call: Call) -> Answer:
        form = call.read(FiltersForm)
        session = self._store.read(call.workspace).sessions.get(call.params["session"])
        return page(filtered(session.messages if session else [], form.filters, kind="message"), call)

    def get_message(self, call: Call) -> Answer:
        return Answer(self._message(call).as_json())

    def update_message(self, call: Call) -> Answer:
        form = call.read(MessageUpdateForm)
        message = self._message(call)
        if form.metadata is not None:
            message.metadata = form.metadata
        return Answer(message.as_json())

    def _store_messages(self, call: Call, forms: list[MessageForm]) -> list[Message]:
        workspace = self._store.workspace(call.workspace)
        session = workspace.session(call.params["session"])
        stored = []
        for form in forms:
            workspace.peer(form.peer_id)
            session.join(form.peer_id, {"observe_me": None, "observe_others": None})
            stored.append(
                Message(
                    new_id(), form.content, form.peer_id, session.id, workspace.id, form.metadata or {},
                    form.created_at or now(),
                )
            )  # fmt: skip
        session.messages.extend(stored)
        return stored

    def _message(self, call: Call) -> Message:
        session = self._store.read(call.workspace).sessions.get(call.params["session"])
        for message in session.messages if session else []:
            if message.id == call.params["message"]:
                return message
        raise Refusal(f"Message with ID {call.params['message']} not found", status=404)


def read_body(form: TypeAdapter[Any], call: Call) -> Any:
    try:
        return form.validate_python(call.body)
    except ValidationError as error:
        raise refused(error, where="body") from None


def join(session: Session, members: dict[str, Observation], *, replaces: bool = False) -> None:
    check_observers(session, members)
    for peer_id, form in members.items():
        session.join(peer_id, form.model_dump(), replaces=replaces)


def check_observers(session: Session, members: dict[str, Observation]) -> None:
    before = {name for name in session.active if session.members[name].config.get("observe_others")}
    after = {name for name, form in members.items() if form.observe_others}
    count = len(before | after)
    if count > OBSERVERS_MAX:
        words = f"Cannot add peer(s) to session {session.id}. Total observers ({count}) would exceed the limit"
        raise Refusal(words, status=400)


def update(found: Workspace | Session, form: UpdateForm) -> None:
    if form.metadata is not None:
        found.metadata = form.metadata
    if form.configuration is not None:
        found.configuration |= form.configuration
