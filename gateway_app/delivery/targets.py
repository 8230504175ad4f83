"""Where the agent may send a message for a person: only to places that the call's context permits, by their names here.

These are the chat of the conversation with its threads, the person's other chats with the agent on that platform, and
the home channels. What the model names is looked for among them; an id that is not there leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Max

from gateway_app import homes
from gateway_app.config import live
from gateway_app.models import Channel, Session
from gateway_app.platforms import registry
from gateway_app.privacy import stand_in
from gateway_app.sessions.source import SessionContext

MOST_THREADS = 50
MOST_CHATS = 50
"""Of a person, the ones used last."""
HERE = "here"

Place = tuple[str, str, str, str]
"""Platform, account, chat and thread."""


class UnknownTarget(ValueError):
    """The context permits no such target, or several that are called so; the text says which there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A place that the context permits."""

    name: str
    """What the model names it by: `here`, a platform for its home channel, or `platform:chat[:thread]`."""
    kind: str
    """What it is, in words."""
    title: str
    """What people call it; empty where nobody told."""
    place: Place


def permitted(context: SessionContext) -> list[Target]:
    """All of them, each place once, `here` first."""
    found: dict[Place, Target] = {}
    for target in (*_here(context), *_own(context)):
        found.setdefault(target.place, target)
    targets = list(found.values())
    # A home channel has a name of its own, also where it is one of the above.
    return targets + [
        Target(
            name=platform,
            kind="home channel",
            title=home.name,
            place=(platform, home.account, home.chat_id, home.thread_id),
        )
        for platform, home in homes.known().items()
        if registry.get(platform).accounts()
    ]


def find(context: SessionContext, wanted: str) -> Target:
    """The target that `wanted` names: by its name, or by its title. Raises `UnknownTarget`."""
    targets, name = permitted(context), wanted.strip()
    by_name = [target for target in targets if target.name == name or target.name == name.lower()]
    by_title = [target for target in targets if target.title and target.title.lower() == name.lower().lstrip("#")]
    found = {target.place: target for target in by_name[:1] or by_title}
    if len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(target.name for target in (found.values() if found else targets))
    if found:
        raise UnknownTarget(f"Several places are called so; name one of {names}.")
    if name.lower() in {context.platform, *live.config().agents.platforms}:
        raise UnknownTarget(
            f"{name} has no home channel. An admin makes a chat it with /sethome, an operator with"
            f" {homes.setting(name.lower())}. You may send to: {names}."
        )
    raise UnknownTarget(f"You may not send there. You may send to: {names}.")


def _here(context: SessionContext) -> Iterator[Target]:
    place = (context.platform, context.account, context.chat_id, context.thread_id)
    channels = Channel.objects.filter(
        platform=context.platform, account=context.account, chat_id=context.chat_id
    ).order_by("-id")[:MOST_THREADS]
    titles = {(row.platform, row.account, row.chat_id, row.thread_id): row.name for row in channels}
    yield Target(name=HERE, kind="this conversation", title=titles.get(place, ""), place=place)
    for other, title in titles.items():
        kind = "another thread of this chat" if other[3] else "this chat, outside of its threads"
        yield Target(name=_name(other), kind=kind, title=title, place=other)


def _own(context: SessionContext) -> Iterator[Target]:
    if not context.user_id:
        return
    rows = (
        Session.objects.filter(platform=context.platform, account=context.account, user_id=context.user_id)
        .values("chat_id", "thread_id", "chat_type")
        .annotate(newest=Max("id"))
        .order_by("-newest")[:MOST_CHATS]
    )
    chats = [(row["chat_id"], row["thread_id"], row["chat_type"]) for row in rows]
    known = Channel.objects.filter(
        platform=context.platform, account=context.account, chat_id__in=[chat for chat, _, _ in chats]
    )
    titles = {(row.chat_id, row.thread_id): row.name for row in known}
    for chat_id, thread_id, chat_type in chats:
        place = (context.platform, context.account, chat_id, thread_id)
        title = titles.get((chat_id, thread_id), "")
        yield Target(name=_name(place), kind=f"the person's own chat ({chat_type})", title=title, place=place)


def _name(place: Place) -> str:
    platform, _, chat_id, thread_id = place
    if live.config().privacy.redact_pii:
        chat_id = stand_in("chat", platform=platform, value=chat_id)
        thread_id = thread_id and stand_in("thread", platform=platform, value=thread_id)
    return ":".join(filter(None, (platform, chat_id, thread_id)))
