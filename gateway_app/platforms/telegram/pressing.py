"""Presses of buttons on Telegram: settles the question, tells whoever pressed, and takes the buttons away."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
from django.conf import settings

from gateway_app.platforms.base import ButtonPress
from gateway_app.platforms.lease import ListenerLease
from gateway_app.platforms.receiving import ringer
from gateway_app.questions import pressing
from gateway_app.questions.pressing import Pressed
from gateway_app.worker.database import in_database

from . import api

log = logging.getLogger(__name__)

LONGEST_NOTICE = 200
"""Characters that Telegram shows to whoever pressed."""
NOTHING: dict[str, Any] = {"inline_keyboard": []}


class Presses:
    """Of one listener. What is told is told on the side: a slow answer of Telegram's holds up no poll."""

    def __init__(self, *, lease: ListenerLease, http: aiohttp.ClientSession) -> None:
        self._lease = lease
        self._http = http
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, press: ButtonPress) -> None:
        """Settles what was pressed; the platform may be acknowledged afterwards.

        Raises `django.db.Error` and `LeaseLost`; then nothing may be acknowledged.
        """
        pressed = await in_database(
            pressing.press, press.value, source=press.source, assert_held=self._lease.assert_held
        )
        ringer.ring(pressed.rings)
        task = asyncio.create_task(self._tell(press, pressed), name="button press")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Leaves what is not told yet untold."""
        for task in self._tasks:
            task.cancel()

    async def _tell(self, press: ButtonPress, pressed: Pressed) -> None:
        notice = {"callback_query_id": press.query_id, "text": pressed.text.replace("`", "")[:LONGEST_NOTICE]}
        await self._call("answerCallbackQuery", notice)
        if pressed.is_settled and press.message_id:
            target = {"chat_id": int(press.source.chat_id), "message_id": int(press.message_id)}
            await self._call("editMessageReplyMarkup", {**target, "reply_markup": NOTHING})

    async def _call(self, method: str, parameters: dict[str, Any]) -> None:
        try:
            await api.call(self._http, method, parameters, seconds=settings.SEND_TIMEOUT_SECONDS)
        except (api.ApiError, api.NotSent, api.NoAnswer, api.Garbled) as error:
            log.debug("Telegram did not take %s: %s", method, error)  # the press counts all the same
