"""Telegram. What workers need to send is here and in `api`; what only a listener needs is imported by it alone."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aiohttp
from django.conf import settings

from gateway_app.delivery.enclosure import BYTES_PER_SECOND
from gateway_app.media.attachment import Attachment, MediaProblem
from gateway_app.platforms.base import OutgoingFile, OutgoingPart, Platform, SendError, UnknownOutcome
from gateway_app.platforms.splitting import split, utf16_length
from gateway_app.sessions.source import SessionContext

from . import api, files
from .formatting import formatted

if TYPE_CHECKING:
    from gateway_app.platforms.lease import ListenerLease

log = logging.getLogger(__name__)

TEXT_LIMIT = 4096
"""UTF-16 code units in one message."""

REPETITION = "♻️ (this may be a repetition) "
"""Said before a part whose earlier attempt may have arrived: Telegram cannot tell doubles by itself."""

GATEWAY_FAILED = (502, 504)
"""HTTP statuses of something before the Bot API that lost its answer; the call may have been carried out."""


class Adapter(Platform):
    name = "telegram"
    shows = (
        "Answers are shown in Telegram: `**bold**`, inline code and code blocks are formatted. Everything else is shown"
        " as it is written, so use no headings, tables or other Markdown. A line `MEDIA:` with a file's reference sends"
        " that file."
    )
    largest_file = files.LARGEST_SENT
    can_pair = True

    def accounts(self) -> list[str]:
        """The bot's own number, which is the part of its token that is no secret."""
        return [settings.TELEGRAM_BOT_TOKEN.partition(":")[0]] if settings.TELEGRAM_BOT_TOKEN else []

    def split(self, text: str) -> list[str]:
        return split(text, limit=TEXT_LIMIT - utf16_length(REPETITION), length=utf16_length)

    async def send(self, part: OutgoingPart, *, http: aiohttp.ClientSession) -> str:
        """The message's id. What Telegram refuses in the form of a message is sent again without it, at once."""
        if part.account not in self.accounts():
            raise SendError(f"this installation has no bot {part.account!r}; check TELEGRAM_BOT_TOKEN")
        message = _message(part)
        file = part.file
        method = files.method_for(file) if file else None
        seconds = settings.SEND_TIMEOUT_SECONDS * 0.9 + (file.size / BYTES_PER_SECOND if file else 0)
        while True:
            name = method.name if method else "sendMessage"
            try:
                upload = _upload(file, method) if file and method else None
                result = await api.call(http, name, message, seconds=seconds, may_go=part.is_ours, upload=upload)
            except api.ApiError as error:
                if error.code == 400 and method not in (None, files.DOCUMENT) and not error.migrated_to:
                    method = files.DOCUMENT  # it is not shown as what it is, such as a picture of odd proportions
                    continue
                if not _mend(message, part, error):
                    raise _send_error(error) from None
            except api.NotSent as error:
                raise SendError(str(error)) from None
            except api.NoAnswer as error:
                raise UnknownOutcome(str(error)) from None
            except api.Garbled as error:
                if error.status < 300 or error.status in GATEWAY_FAILED:
                    raise UnknownOutcome(str(error)) from None
                raise SendError(str(error)) from None
            else:
                return str(result.get("message_id", "")) if isinstance(result, dict) else ""

    async def download(
        self, attachment: Attachment, *, account: str, write: Callable[[bytes], object], http: aiohttp.ClientSession
    ) -> None:
        if account not in self.accounts():
            raise MediaProblem("this installation does not have the bot any more that it was sent to")
        await files.download(attachment, write=write, http=http)

    async def show_typing(self, context: SessionContext, *, http: aiohttp.ClientSession) -> None:
        action = _target(context.chat_id, context.thread_id) | {"action": "typing"}
        try:
            await api.call(http, "sendChatAction", action, seconds=settings.SEND_TIMEOUT_SECONDS / 2)
        except (api.ApiError, api.NotSent, api.NoAnswer, api.Garbled) as error:
            log.debug("Telegram did not show typing in chat %s: %s", context.chat_id, error)

    def prepare_to_listen(self) -> None:
        for name in ("polling", "menu"):
            importlib.import_module(f"{__package__}.{name}")

    async def listen(self, *, lease: ListenerLease, http: aiohttp.ClientSession) -> None:
        from .menu import keep_menu
        from .polling import Poller

        menu = asyncio.create_task(keep_menu(lease=lease, http=http), name="menu")
        try:
            await Poller(lease=lease, http=http).run()
        finally:
            menu.cancel()
            await asyncio.gather(menu, return_exceptions=True)


def _upload(file: OutgoingFile, method: files.Method) -> api.Upload:
    return api.Upload(
        parameter=method.parameter,
        name=file.name,
        content_type=file.content_type,
        size=file.size,
        stream=file.stream,
    )


def _message(part: OutgoingPart) -> dict[str, Any]:
    message = _target(part.chat_id, part.thread_id)
    if part.file:
        message |= {"caption": REPETITION.strip()} if part.unknown_outcomes else {}
    else:
        text = formatted(REPETITION + part.text if part.unknown_outcomes else part.text)
        message |= {"text": text.text, "link_preview_options": {"is_disabled": True}}
        if text.entities:
            message["entities"] = text.entities
    if part.buttons:
        rows = [[{"text": label, "callback_data": value}] for label, value in part.buttons]
        message["reply_markup"] = {"inline_keyboard": rows}
    # In a direct chat it is plain what is answered; groups and channels have negative numbers, or names.
    if part.reply_to.isdecimal() and not part.chat_id.isdecimal():
        message["reply_parameters"] = {"message_id": int(part.reply_to), "allow_sending_without_reply": True}
    return message


def _target(chat_id: str, thread_id: str) -> dict[str, Any]:
    target: dict[str, Any] = {"chat_id": int(chat_id) if chat_id.removeprefix("-").isdecimal() else chat_id}
    if thread_id.isdecimal():
        target["message_thread_id"] = int(thread_id)
    return target


def _mend(message: dict[str, Any], part: OutgoingPart, error: api.ApiError) -> bool:
    """Takes out of `message` what Telegram refused, if it can do without."""
    words = error.description.lower()
    if error.code != 400:
        return False
    if error.migrated_to and str(message["chat_id"]) == part.chat_id != error.migrated_to:
        message["chat_id"] = int(error.migrated_to)
        return True
    if "entit" in words and message.pop("entities", None):
        message["text"] = REPETITION + part.text if part.unknown_outcomes else part.text
        return True
    if ("button" in words or "keyboard" in words or "markup" in words) and message.pop("reply_markup", None):
        return True  # the text says how to answer, too
    if "thread not found" in words or "topic" in words:
        # The topic is gone: the answer is shown in the chat itself rather than lost.
        return message.pop("message_thread_id", None) is not None
    return False


def _send_error(error: api.ApiError) -> SendError:
    if error.code == 429:
        return SendError(str(error), retry_after=error.retry_after, closes_account=True)
    if error.code in (401, 404):
        # The token, not the part: everything waits for the operator, and its attempts are not used up in minutes.
        return SendError(str(error), retry_after=settings.TELEGRAM_REFUSED_SECONDS, closes_account=True)
    return SendError(str(error), permanent=400 <= error.code < 500)
