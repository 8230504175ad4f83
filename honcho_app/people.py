"""What Honcho knows of a person, for operators to look at."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_app.models import Session
from gateway_app.sessions.source import ChatType, SessionSource

from . import client, configuration, names
from .errors import HonchoError, HonchoErrorKind

CONCLUSIONS = 20
"""The newest of them that are shown."""
MOST_PEERS = 5
"""Accounts of a platform on which the person may have written, each with a peer of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known under one peer."""

    workspace: str
    peer: str
    card: tuple[str, ...] = ()
    conclusions: tuple[str, ...] = ()
    problem: str = ""
    """Why it could not be read."""


def known_of(*, platform: str, user_id: str) -> list[Known]:
    """What is known of a person, by peer; nothing where Honcho is off or they never wrote by themselves.

    Takes no longer than two reads may, since the first that fails is the last.
    """
    config = configuration.live()
    if not config.is_active:
        return []
    accounts = Session.objects.filter(platform=platform, user_id=user_id).values_list("account", flat=True)
    found: list[Known] = []
    for account in sorted(set(accounts.distinct()[:MOST_PEERS])):
        # No key is made of it: only who it is and where.
        who = SessionSource(platform=platform, account=account, chat_id="", chat_type=ChatType.DM, user_id=user_id)
        workspace, peer = names.workspace_name(who, config), names.peer_name(who, config)
        if any((each.workspace, each.peer) == (workspace, peer) for each in found):
            continue
        found.append(_known(workspace, peer))
        if found[-1].problem:
            break
    return found


def _known(workspace: str, peer: str) -> Known:
    try:
        card, conclusions = client.guarded(_read, workspace, names.checked_id(peer))
    except HonchoError as error:
        problem = "" if error.kind is HonchoErrorKind.NOT_FOUND else str(error)
        return Known(workspace=workspace, peer=peer, problem=problem)
    return Known(workspace=workspace, peer=peer, card=tuple(card), conclusions=tuple(conclusions))


def _read(workspace: str, name: str) -> tuple[list[str], list[str]]:
    from honcho.peer import Peer

    peer = Peer(name, client.reading(workspace))
    return peer.get_card() or [], [each.content for each in peer.conclusions.list(size=CONCLUSIONS).items]
