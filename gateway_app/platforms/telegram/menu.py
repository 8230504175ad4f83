"""The bot's menu of commands: what somebody may run who is no admin, and for each admin what they may."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from typing import Any

import aiohttp

from gateway_app.access.decision import ANYONE
from gateway_app.commands import menu
from gateway_app.config import live
from gateway_app.config.schema.access import PlatformAccess
from gateway_app.platforms.lease import ListenerLease
from gateway_app.sessions.source import ChatType, SessionSource

from . import api

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9_]{1,32}")
"""What Telegram takes; a command with another name works when it is typed."""
MOST_COMMANDS = 100
LONGEST_DESCRIPTION = 256
MOST_ADMINS = 50
"""Admins with a menu of their own."""
LOOK_SECONDS = 30.0
"""How often it is looked whether the configuration makes other menus; Telegram is asked nothing for that."""
RETRY_SECONDS = 300.0
"""Until what Telegram did not take is tried again: an admin who has never written to the bot has no chat yet."""
CALL_SECONDS = 15.0

Commands = list[dict[str, str]]
"""As the Bot API has them: `command` and `description`."""


async def keep_menu(*, lease: ListenerLease, http: aiohttp.ClientSession) -> None:
    """Keeps the menus as the configuration in force makes them, until cancelled. Raises `LeaseLost`."""
    kept: dict[str, Commands] = {}
    failed_at: dict[str, float] = {}
    while True:
        wanted = menus(lease.account)
        # What is not wanted any more is taken back, so that the general menu holds there again.
        for scope in [*wanted, *(kept.keys() - wanted.keys())]:
            commands, now = wanted.get(scope), time.monotonic()
            if kept.get(scope) == commands or now - failed_at.get(scope, -RETRY_SECONDS) < RETRY_SECONDS:
                continue
            lease.check()
            if not await _set(scope, commands, http=http):
                failed_at[scope] = now
            elif commands is None:
                del kept[scope]
            else:
                kept[scope] = commands
        await asyncio.sleep(LOOK_SECONDS)


def menus(account: str) -> dict[str, Commands]:
    """The menus by their scope, as JSON text. A scope without an entry has the general one."""
    access = live.config().access.platforms.get("telegram") or PlatformAccess()
    general = _commands(account, chat_id="0", chat_type=ChatType.DM)
    found = {_scope("default"): general}
    in_groups = _commands(account, chat_id="-1", chat_type=ChatType.GROUP)
    if in_groups != general:
        found[_scope("all_group_chats")] = in_groups
    admins = [user for user in access.allow_admin_from if user != ANYONE and user.isdecimal()]
    for user in admins[:MOST_ADMINS]:
        own = _commands(account, chat_id=user, chat_type=ChatType.DM)
        if own != general:
            found[_scope("chat", chat_id=int(user))] = own
    return found


def _commands(account: str, *, chat_id: str, chat_type: ChatType) -> Commands:
    """What the person of a direct chat may run, whose number is the chat's, or anybody in a group."""
    source = SessionSource(platform="telegram", account=account, chat_id=chat_id, chat_type=chat_type, user_id=chat_id)
    return [
        {"command": command.name, "description": menu.described(command, longest=LONGEST_DESCRIPTION)}
        for command in menu.shown_to(source)
        if NAME.fullmatch(command.name)
    ][:MOST_COMMANDS]


def _scope(kind: str, **values: int) -> str:
    return json.dumps({"type": kind, **values})


async def _set(scope: str, commands: Commands | None, *, http: aiohttp.ClientSession) -> bool:
    """Sees to it that Telegram has these; whether it has. It is asked first: a start changes nothing as a rule."""
    request: dict[str, Any] = {"scope": json.loads(scope)}
    try:
        if commands is None:
            await api.call(http, "deleteMyCommands", request, seconds=CALL_SECONDS)
        elif await api.call(http, "getMyCommands", request, seconds=CALL_SECONDS) != commands:
            await api.call(http, "setMyCommands", request | {"commands": commands}, seconds=CALL_SECONDS)
    except (api.ApiError, api.NotSent, api.NoAnswer, api.Garbled) as error:
        log.info("Telegram did not take the menu for %s: %s", scope, error)
        return False
    return True
