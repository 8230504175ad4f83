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
from gateway_app.platforms.base import MessageGone, OutgoingFile, OutgoingPart, Platform, SendError, UnknownOutcome
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

GROUP_EDIT_SECONDS = 3.0
"""Telegram takes 20 messages a minute in a group, and counts edits as well."""

UNCHANGED = "message is not modified"
"""Telegram's words for an edit that changes nothing."""


class Adapter(Platform):
    name = "telegram"
    can_edit = True
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
        if part.file:
            result = await _send_file(part, part.file, http=http)
        else:
            result = await _call("sendMessage", _message(part), part, http=http)
        return str(result.get("message_id", "")) if isinstance(result, dict) else ""

    async def edit(self, part: OutgoingPart, *, http: aiohttp.ClientSession) -> None:
        if part.account not in self.accounts() or not part.replaces.isdecimal():
            raise MessageGone(f"no message {part.replaces!r} of bot {part.account!r}")
        message = _message(part, is_edit=True) | {"message_id": int(part.replaces)}
        await _call("editMessageText", message, part, http=http)

    async def delete(self, part: OutgoingPart, *, message_id: str, http: aiohttp.ClientSession) -> None:
        if part.account not in self.accounts() or not message_id.isdecimal():
            return
        message = {"chat_id": _target(part.chat_id, "")["chat_id"], "message_id": int(message_id)}
        try:
            await api.call(http, "deleteMessage", message, seconds=settings.SEND_TIMEOUT_SECONDS / 2)
        except (api.ApiError, api.NotSent, api.NoAnswer, api.Garbled) as error:
            log.info("Telegram did not delete message %s in chat %s: %s", message_id, part.chat_id, error)

    def edit_distance(self, context: SessionContext) -> float:
        return 0.0 if context.chat_id.isdecimal() else GROUP_EDIT_SECONDS

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


class _BadRequest(SendError):
    """Telegram finds the call wrong, maybe only in its form."""


async def _send_file(part: OutgoingPart, file: OutgoingFile, *, http: aiohttp.ClientSession) -> Any:
    """The result of sending `file` as what it is; where Telegram refuses that, as a document."""
    method = files.method_for(file)
    try:
        return await _call(method.name, _message(part), part, http=http, upload=_upload(file, method))
    except _BadRequest:
        if method is files.DOCUMENT:
            raise
    method = files.DOCUMENT  # it is not shown as what it is, such as a picture of odd proportions
    return await _call(method.name, _message(part), part, http=http, upload=_upload(file, method))


def _upload(file: OutgoingFile, method: files.Method) -> api.Upload:
    return api.Upload(
        parameter=method.parameter,
        name=file.name,
        content_type=file.content_type,
        size=file.size,
        stream=file.stream,
    )


async def _call(
    method: str,
    message: dict[str, Any],
    part: OutgoingPart,
    *,
    http: aiohttp.ClientSession,
    upload: api.Upload | None = None,
) -> Any:
    """The result of sending or editing `message`. What Telegram refuses in its form is left out, and it goes again."""
    is_edit = method == "editMessageText"
    seconds = settings.SEND_TIMEOUT_SECONDS * 0.9 + (upload.size / BYTES_PER_SECOND if upload else 0)
    while True:
        try:
            return await api.call(http, method, message, seconds=seconds, may_go=part.is_ours, upload=upload)
        except api.ApiError as error:
            if is_edit and UNCHANGED in error.description:
                return None
            if _mend(message, part, error):
                continue
            if is_edit and 400 <= error.code < 500 and error.code not in (401, 429):
                raise MessageGone(str(error)) from None  # whatever the reason is, a message of its own may be taken
            raise _send_error(error) from None
        except api.NotSent as error:
            raise SendError(str(error)) from None
        except api.NoAnswer as error:
            raise UnknownOutcome(str(error)) from None
        except api.Garbled as error:
            if error.status < 300 or error.status in GATEWAY_FAILED:
                raise UnknownOutcome(str(error)) from None
            raise SendError(str(error)) from None


def _said(part: OutgoingPart, *, is_edit: bool) -> str:
    return REPETITION + part.text if part.unknown_outcomes and not is_edit else part.text


def _message(part: OutgoingPart, *, is_edit: bool = False) -> dict[str, Any]:
    message = _target(part.chat_id, "" if is_edit else part.thread_id)
    if part.file:
        message |= {"caption": REPETITION.strip()} if part.unknown_outcomes else {}
    else:
        text = formatted(_said(part, is_edit=is_edit))
        message |= {"text": text.text, "link_preview_options": {"is_disabled": True}}
        if text.entities:
            message["entities"] = text.entities
    if part.buttons:
        rows = [[{"text": label, "callback_data": value}] for label, value in part.buttons]
        message["reply_markup"] = {"inline_keyboard": rows}
    # In a direct chat it is plain what is answered; groups and channels have negative numbers, or names.
    if not is_edit and part.reply_to.isdecimal() and not part.chat_id.isdecimal():
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
        message["text"] = _said(part, is_edit="message_id" in message)
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
    kind = _BadRequest if error.code == 400 else SendError
    return kind(str(error), permanent=400 <= error.code < 500)
