"""The Honcho peer's calls about peers, and about what they hold of each other."""

from __future__ import annotations

from typing import Any

from tests.peers.honcho import recalling
from tests.peers.honcho.calls import Answer, Call, page
from tests.peers.honcho.filters import filtered
from tests.peers.honcho.forms import (
    CardForm,
    ChatForm,
    ConclusionQueryForm,
    ConclusionsForm,
    FiltersForm,
    PeerContextQuery,
    PeerForm,
    RepresentationForm,
    SearchForm,
    TargetQuery,
    UpdateForm,
)
from tests.peers.honcho.store import Conclusion, Refusal, Store, new_id


class PeopleCalls:
    """Part of `HonchoPeer`."""

    _store: Store
    chat_answer: str

    def get_or_create_peer(self, call: Call) -> Answer:
        form = call.read(PeerForm)
        workspace = self._store.workspace(call.workspace)
        is_new = form.id not in workspace.peers
        peer = workspace.peer(form.id)
        if form.metadata is not None:
            peer.metadata = form.metadata
        if form.configuration is not None:
            peer.configuration = form.configuration
        return Answer(peer.as_json(), status=201 if is_new else 200)

    def list_peers(self, call: Call) -> Answer:
        form = call.read(FiltersForm)
        return page(filtered(self._store.read(call.workspace).peers.values(), form.filters, kind="peer"), call)

    def update_peer(self, call: Call) -> Answer:
        form = call.read(UpdateForm)
        peer = self._store.workspace(call.workspace).peer(call.params["peer"])
        if form.metadata is not None:
            peer.metadata = form.metadata
        if form.configuration is not None:
            peer.configuration = form.configuration
        return Answer(peer.as_json())

    def list_peer_sessions(self, call: Call) -> Answer:
        form = call.read(FiltersForm)
        peer_id = call.params["peer"]
        found = [
            each
            for each in self._store.read(call.workspace).sessions.values()
            if each.is_active and peer_id in each.active
        ]
        return page(filtered(found, form.filters, kind="session"), call)

    def search_peer(self, call: Call) -> Answer:
        return Answer(
            recalling.search(self._store.read(call.workspace), call.read(SearchForm), peer_id=call.params["peer"])
        )

    def get_card(self, call: Call) -> Answer:
        peer = self._store.read(call.workspace).known_peer(call.params["peer"])
        return Answer({"peer_card": peer.cards.get(call.read_query(TargetQuery).target or peer.id)})

    def set_card(self, call: Call) -> Answer:
        """Replaces the whole card."""
        form, target = call.read(CardForm), call.read_query(TargetQuery).target
        peer = self._store.workspace(call.workspace).peer(call.params["peer"])
        peer.cards[target or peer.id] = form.peer_card
        return Answer({"peer_card": form.peer_card})

    def peer_context(self, call: Call) -> Answer:
        query = call.read_query(PeerContextQuery)
        workspace = self._store.read(call.workspace)
        peer = workspace.known_peer(call.params["peer"])
        target = query.target or peer.id
        representation = recalling.represent(
            workspace, observer=peer.id, observed=target, question=query.search_query, top_k=query.search_top_k,
            most=query.max_conclusions,
        )  # fmt: skip
        card = peer.cards.get(target)
        return Answer({"peer_id": peer.id, "target_id": target, "representation": representation, "peer_card": card})

    def representation(self, call: Call) -> Answer:
        form, peer_id = call.read(RepresentationForm), call.params["peer"]
        found = recalling.represent(
            self._store.read(call.workspace), observer=peer_id, observed=form.target or peer_id,
            session_id=form.session_id, question=form.search_query, top_k=form.search_top_k, most=form.max_conclusions,
        )  # fmt: skip
        return Answer({"representation": found})

    def chat(self, call: Call) -> Answer:
        """Answers what `chat_answer` says, where `{query}`, `{observer}` and `{observed}` stand for the call's."""
        form, peer_id = call.read(ChatForm), call.params["peer"]
        self._store.workspace(call.workspace).peer(peer_id)
        words = {"{query}": form.query, "{observer}": peer_id, "{observed}": form.target or peer_id}
        content = self.chat_answer
        for name, word in words.items():
            content = content.replace(name, word)
        if not form.stream:
            return Answer({"content": content or None})
        pieces = [content[start : start + 16] for start in range(0, len(content), 16)]
        events: list[Any] = [{"delta": {"content": piece}, "done": False} for piece in pieces]
        return Answer(events=[*events, {"done": True}])

    # --- Conclusions -------------------------------------------------------------------------------------------

    def create_conclusions(self, call: Call) -> Answer:
        forms = call.read(ConclusionsForm).conclusions
        workspace = self._store.workspace(call.workspace)
        for form in forms:
            workspace.known_peer(form.observer_id)
            workspace.known_peer(form.observed_id)
            if form.session_id is not None:
                workspace.live_session(form.session_id)
        created = [Conclusion(new_id(), **form.model_dump()) for form in forms]
        workspace.conclusions.extend(created)
        return Answer([conclusion.as_json() for conclusion in created], status=201)

    def list_conclusions(self, call: Call) -> Answer:
        """The newest first."""
        form = call.read(FiltersForm)
        found = filtered(self._store.read(call.workspace).conclusions, form.filters, kind="conclusion")
        return page(reversed(found), call)

    def query_conclusions(self, call: Call) -> Answer:
        form = call.read(ConclusionQueryForm)
        found = filtered(self._store.read(call.workspace).conclusions, form.filters, kind="conclusion")
        return Answer([each.as_json() for each in recalling.nearest(found, form.query, limit=form.top_k)])

    def delete_conclusion(self, call: Call) -> Answer:
        """Whoever asks: the real server does not check whose it is either."""
        workspace = self._store.read(call.workspace)
        for conclusion in workspace.conclusions:
            if conclusion.id == call.params["conclusion"]:
                workspace.conclusions.remove(conclusion)
                return Answer(status=204)
        raise Refusal(f"Document {call.params['conclusion']} not found in workspace {workspace.id}", status=404)
