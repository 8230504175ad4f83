"""Remembers the chats that the gateway has heard from, without a write for what is known already."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from gateway_app.models import Channel
from gateway_app.sessions.source import SessionSource

REMEMBERED = 10_000
"""Chats a process keeps in mind to spare itself the statement; the oldest is forgotten first."""

_known: OrderedDict[tuple[str, str, str, str], str] = OrderedDict()


def note(sources: Iterable[SessionSource]) -> None:
    """Writes the channels that are new or have another name. Must run in a transaction."""
    changed: dict[tuple[str, str, str, str], Channel] = {}
    for source in sources:
        place = (source.platform, source.account, source.chat_id, source.thread_id)
        if _known.get(place) == source.chat_name:
            continue
        changed[place] = Channel(
            platform=source.platform,
            account=source.account,
            chat_id=source.chat_id,
            thread_id=source.thread_id,
            chat_type=source.chat_type.value,
            name=source.chat_name,
        )
    if not changed:
        return
    Channel.objects.bulk_create(
        [changed[place] for place in sorted(changed)],
        update_conflicts=True,
        unique_fields=["platform", "account", "chat_id", "thread_id"],
        update_fields=["chat_type", "name"],
    )
    # A rollback after this costs one missing row until the process restarts or the name changes; the rollback
    # also makes the platform send the events again, to this process or another.
    for place, channel in changed.items():
        _known[place] = channel.name
        _known.move_to_end(place)
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
