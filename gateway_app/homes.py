"""Home channels: the chat that is meant on a platform where none is named.

The configuration goes before what was chosen in a chat, as it does everywhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gateway_app.access import audit
from gateway_app.access.audit import Actor
from gateway_app.config import live
from gateway_app.models import HomeChannel
from gateway_app.models.audit import AuditAction
from gateway_app.platforms import registry
from gateway_app.sessions.source import SessionSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A platform's home channel."""

    platform: str
    account: str
    chat_id: str
    thread_id: str
    name: str


def setting(platform: str) -> str:
    """The variable that names the platform's home channel in the configuration."""
    return f"{platform.upper()}_HOME_CHANNEL"


def configured(platform: str) -> Home | None:
    """The home channel that the configuration names."""
    agent = live.config().agents.platforms.get(platform)
    accounts = registry.get(platform).accounts()
    if agent is None or agent.home_channel is None or not accounts:
        return None
    home = agent.home_channel
    return Home(platform=platform, account=accounts[0], chat_id=home.chat_id, thread_id=home.thread_id, name=home.name)


def known() -> dict[str, Home]:
    """The home channel of each platform that has one, by the platform's name."""
    found = {
        row.platform: Home(
            platform=row.platform, account=row.account, chat_id=row.chat_id, thread_id=row.thread_id, name=row.name
        )
        for row in HomeChannel.objects.all()
    }
    for platform in live.config().agents.platforms:
        if home := configured(platform):
            found[platform] = home
    return dict(sorted(found.items()))


def choose(source: SessionSource, *, by: Actor) -> bool:
    """Makes the chat of `source` its platform's home channel; whether it was not already.

    Must run in a transaction that has locked nothing but the session's lane. One audit row is written.
    """
    chosen = Home(
        platform=source.platform,
        account=source.account,
        chat_id=source.chat_id,
        thread_id=source.thread_id,
        name=source.chat_name,
    )
    return _put(source.platform, chosen, by=by)


def take_back(platform: str, *, by: Actor) -> bool:
    """Takes back what was chosen for the platform; whether there was something. As `choose()`."""
    return _put(platform, None, by=by)


def _put(platform: str, chosen: Home | None, *, by: Actor) -> bool:
    ledger = audit.open_ledger()
    row = HomeChannel.objects.filter(platform=platform).first()
    before = _kept(row) if row else {}
    after = asdict(chosen) if chosen else {}
    if before == after:
        return False
    HomeChannel.objects.filter(platform=platform).delete()
    if after:
        HomeChannel.objects.create(**after, chosen_by=by.name, chosen_at=ledger.now)
    subject = (after or before)["chat_id"]
    ledger.write(
        action=AuditAction.HOME_CHANGED, by=by, platform=platform, subject=subject, before=before or None,
        after=after or None,
    )  # fmt: skip
    return True


def _kept(row: HomeChannel) -> dict[str, Any]:
    return {
        "platform": row.platform,
        "account": row.account,
        "chat_id": row.chat_id,
        "thread_id": row.thread_id,
        "name": row.name,
    }
