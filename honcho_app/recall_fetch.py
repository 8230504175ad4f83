"""Asks Honcho for what it remembers of a person, in two calls."""

from __future__ import annotations

from typing import Any

from gateway_app.config import live
from gateway_app.sessions.source import SessionContext

from . import client, configuration, names
from .recall_text import Memory

TOKENS_FACTOR = 4
"""Honcho gives a representation of any length first, and a summary a part of the tokens that are left: asked for no
more than is shown, it leaves the summary out. What is too much is cut here."""


def remembered(context: SessionContext, *, session_name: str) -> Memory:
    """What Honcho remembers of the person of `context`, as far as it may be shown where they write.

    Only what belongs to them is asked for: their slot of themselves, and theirs of the agent, which says how it is to
    be with them. Where others read along, what they said elsewhere stays there. Nothing is made: of a session that
    Honcho does not know it remembers nothing. Makes calls in this thread, and is for `client.run_in()`.
    """
    from honcho.session import Session

    config = configuration.live()
    user, is_private = names.peer_name(context, config), names.is_private(context)
    workspace = names.workspace_name(context, config)
    session = Session(names.checked_id(session_name), client.recalling(workspace))
    about: dict[str, Any] = {
        "limit_to_session": not is_private,
        "max_conclusions": live.config().recall.conclusions,
    }
    found = session.context(
        summary=True, tokens=config.context_tokens * TOKENS_FACTOR, peer_target=names.checked_id(user), **about
    )
    own = session.context(
        summary=False, tokens=1, peer_target=names.ai_peer_name(config), peer_perspective=user, **about
    )
    return Memory(
        summary=found.summary.content if found.summary else "",
        representation=found.peer_representation or "",
        # A card does not say where its facts are from.
        card=tuple(found.peer_card or ()) if is_private else (),
        own_representation=own.peer_representation or "",
        own_card=tuple(own.peer_card or ()) if is_private else (),
    )
