"""How the Honcho peer recalls: search, representation and what of a session fits into a number of tokens.

There is no model: what is near to a question is what has the most words in common with it. As with embeddings, a
search finds something wherever there is anything, however little it has to do with the question.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from tests.peers.honcho.filters import filtered
from tests.peers.honcho.forms import ContextQuery, SearchForm
from tests.peers.honcho.store import Conclusion, Message, Refusal, Session, Workspace, count_tokens, stamp

TOKENS_MAX = 100_000
CONCLUSIONS_MAX = 100
SUMMARY_SHARE = 0.4
"""The part of the tokens that a summary may take."""

Text = TypeVar("Text", Message, Conclusion)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def nearest(texts: list[Text], question: str, *, limit: int) -> list[Text]:
    """Those with the most words in common first, newer before older."""
    wanted = words(question)
    ranked = sorted(texts, key=lambda text: (-len(wanted & words(text.content)), -text.number))
    return ranked[:limit]


def search(workspace: Workspace, form: SearchForm, *, session_id: str = "", peer_id: str = "") -> list[dict[str, Any]]:
    """Messages of the whole workspace, of everybody in it, but for what the filters say."""
    filters = dict(form.filters or {})
    perspective = filters.pop("peer_perspective", None)
    if perspective is not None and not isinstance(perspective, str):
        raise Refusal("peer_perspective must be a string", status=422)
    found = filtered(workspace.messages(), filters, kind="message")
    if session_id:
        found = [message for message in found if message.session_id == session_id]
    if peer_id:
        found = [message for message in found if message.peer_id == peer_id]
    if perspective is not None:
        seen = {session.id for session in workspace.sessions.values() if perspective in session.members}
        found = [message for message in found if message.session_id in seen]
    return [message.as_json() for message in nearest(found, form.query, limit=form.limit)]


def represent(
    workspace: Workspace, *, observer: str, observed: str, session_id: str | None = None, question: str | None = None,
    top_k: int | None = None, most: int | None = None,
) -> str:  # fmt: skip
    """What one peer holds of another, as the server writes it: a heading and a line for each conclusion."""
    found = workspace.collection(observer=observer, observed=observed)
    if session_id:
        found = [conclusion for conclusion in found if conclusion.session_id == session_id]
    most = most or CONCLUSIONS_MAX
    if question:
        near = nearest(found, question, limit=min(top_k or most, most))
        rest = [conclusion for conclusion in reversed(found) if conclusion not in near]
        found = sorted([*near, *rest][:most], key=lambda conclusion: conclusion.number)
    else:
        found = found[-most:]
    if not found:
        return ""
    lines = [f"[{stamp(conclusion.created_at)}] {conclusion.content}" for conclusion in found]
    return "## Explicit Observations\n\n" + "\n".join(lines) + "\n"


def context(workspace: Workspace, session_id: str, query: ContextQuery) -> dict[str, Any]:
    """Of a session that is not there: nothing, and no error. The representation is taken first, whatever it costs."""
    if query.peer_perspective and not query.peer_target:
        raise Refusal("peer_target must be provided if peer_perspective is provided", status=422)
    session = workspace.sessions.get(session_id) or Session(session_id, workspace.id)
    budget = TOKENS_MAX if query.tokens is None else query.tokens
    representation = card = None
    if query.peer_target:
        observer = query.peer_perspective or query.peer_target
        representation = represent(
            workspace, observer=observer, observed=query.peer_target, question=query.search_query,
            session_id=session_id if query.limit_to_session else None, top_k=query.search_top_k,
            most=query.max_conclusions,
        )  # fmt: skip
        if not query.limit_to_session and observer in workspace.peers:
            card = workspace.peers[observer].cards.get(query.peer_target)
        budget -= count_tokens(representation) + count_tokens("".join(card or []))
    summary = pick_summary(session, most=int(budget * SUMMARY_SHARE)) if query.summary else None
    messages = session.messages
    if summary:
        budget -= summary["token_count"]
        covered = next(at for at, message in enumerate(messages) if message.id == summary["message_id"])
        messages = messages[covered + 1 :]
    kept: list[Message] = []
    for message in reversed(messages):
        budget -= message.token_count
        if budget < 0:
            break
        kept.append(message)
    return {
        "id": session_id, "messages": [message.as_json() for message in reversed(kept)], "summary": summary,
        "peer_representation": representation, "peer_card": card,
    }  # fmt: skip


def pick_summary(session: Session, *, most: int) -> dict[str, Any] | None:
    for kind in ("long", "short"):
        found = session.summaries.get(kind)
        if found and found["token_count"] <= most:
            return found
    return None
