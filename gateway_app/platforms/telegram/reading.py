"""Reads updates: which are messages for the bot, who wrote them, where, and what. Only listeners import this."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiogram.enums import ChatType as TelegramChatType
from aiogram.types import Chat, Message
from django.conf import settings
from pydantic import ValidationError

from gateway_app.commands.invocation import parse
from gateway_app.inbox import clean
from gateway_app.media.attachment import Attachment, Kind, clean_name
from gateway_app.platforms.base import ButtonPress, InboundEvent, UnreadableEvent
from gateway_app.sessions.source import ChatType, SessionSource

PRESS = "callback_query"
KINDS = ("message", "channel_post", PRESS)
"""The updates that are asked for. Edits and all else that happens in chats are none of them."""

READ_REPLY_FIELDS = frozenset({"message_id", "date", "chat", "from"})

READ_FIELDS = READ_REPLY_FIELDS | {
    "sender_chat", "text", "caption", "is_topic_message", "message_thread_id", "reply_to_message",
}  # fmt: skip
"""What is read of a message. The rest is not even looked at, so that what Telegram adds there can break nothing."""

MEDIA = {
    # The first three come with one of the others, for readers that do not know them.
    "live_photo": "live photo", "animation": "animation", "venue": "venue",
    "photo": "photo", "video": "video", "audio": "audio file", "voice": "voice message", "video_note": "video message",
    "document": "file", "sticker": "sticker", "location": "location", "contact": "contact", "poll": "poll",
    "dice": "dice", "game": "game", "story": "story", "paid_media": "paid media", "checklist": "checklist",
    "invoice": "invoice", "rich_message": "formatted message",
}  # fmt: skip
"""Messages without text, by the field that holds what they show, and the word for it that the model is given."""

DETAILS = {"document": "file_name", "audio": "file_name", "video": "file_name", "sticker": "emoji", "dice": "emoji"}
"""What is told of a medium beside its kind."""

LONGEST_NAME = 255
"""Characters of a person's, chat's or file's name that are kept; Telegram's own limits are lower."""

CHAT_TYPES = {
    TelegramChatType.PRIVATE: ChatType.DM,
    TelegramChatType.GROUP: ChatType.GROUP,
    TelegramChatType.SUPERGROUP: ChatType.GROUP,
    TelegramChatType.CHANNEL: ChatType.CHANNEL,
}

KNOWN_FIELDS = frozenset(field.alias or name for name, field in Message.model_fields.items())
"""A message without text or medium that has only these is one that Telegram writes itself: somebody joined, or so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """Who the bot is: `user_id` and `username` as others see it, `account` as the gateway calls it."""

    account: str
    user_id: int
    username: str

    def is_addressed(self, text: str) -> bool:
        """Whether a text mentions the bot, or is a command that is not another bot's."""
        name = re.escape(self.username)
        return bool(
            re.search(rf"(?<![\w@])@{name}(?!\w)", text, re.IGNORECASE)
            or re.match(rf"/\w+(?:@{name})?(?![\w@])", text, re.IGNORECASE)
        )

    def without_own_name(self, text: str) -> str:
        """A text whose command names the bot, without that name; a name that a command still has is another bot's."""
        found = parse(text)
        if found and found.bot.lower() == self.username.lower():
            return text.replace(f"@{found.bot}", "", 1)
        return text


FILES = {
    "animation": Kind.VIDEO, "photo": Kind.IMAGE, "voice": Kind.VOICE, "audio": Kind.AUDIO, "video": Kind.VIDEO,
    "video_note": Kind.VIDEO, "document": Kind.DOCUMENT,
}  # fmt: skip
"""Media whose bytes are fetched, and what each is said to be."""

FILE_ID = re.compile(r"[A-Za-z0-9_-]{1,250}")


def update_id(raw: object) -> int | None:
    """The number of an update, if it has one."""
    found = raw.get("update_id") if isinstance(raw, dict) else None
    return found if type(found) is int and 0 <= found < 2**53 else None


def addressed_albums(updates: Sequence[object], *, bot: Bot) -> set[str]:
    """Albums one of whose pictures addresses the bot: only one of them has the caption. Never raises."""
    found = set()
    for raw in updates:
        message = next((raw[kind] for kind in KINDS if kind in raw), None) if isinstance(raw, dict) else None
        if isinstance(message, dict) and isinstance(message.get("media_group_id"), str):
            caption, reply = message.get("caption"), message.get("reply_to_message")
            sender = reply.get("from") if isinstance(reply, dict) else None
            is_reply = isinstance(sender, dict) and sender.get("id") == bot.user_id
            if is_reply or (isinstance(caption, str) and bot.is_addressed(caption)):
                found.add(message["media_group_id"])
    return found


def read(raw: object, *, bot: Bot, albums: Collection[str] = ()) -> InboundEvent | ButtonPress | UnreadableEvent | None:
    """The event, or the press of a button, in one update; None for what is not meant for the bot. Never raises.

    `albums` are those that address the bot by another of their pictures.
    """
    number = update_id(raw)
    if not isinstance(raw, dict) or number is None:
        return unreadable(f"unnamed-{_digest(raw)}", "an update without a number", bot=bot)
    kind = next((kind for kind in KINDS if kind in raw), None)
    if kind is None:
        return None
    try:
        if kind == PRESS:
            return _read_press(raw[kind], bot=bot)
        return _read_message(raw[kind], event_id=str(number), bot=bot, albums=albums)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "message"
        return unreadable(str(number), f"{field}: {first['msg']}", bot=bot)
    except Exception as error:  # whatever it was, it must not cost the other updates of the batch
        return unreadable(str(number), f"{type(error).__name__} while it was read", bot=bot)


def unreadable(event_id: str, reason: str, *, bot: Bot) -> UnreadableEvent:
    return UnreadableEvent(event_id=event_id, platform="telegram", account=bot.account, reason=reason)


def _read_message(
    raw: Any, *, event_id: str, bot: Bot, albums: Collection[str]
) -> InboundEvent | UnreadableEvent | None:
    message = _validated(raw)
    if message.chat.type not in CHAT_TYPES:
        return unreadable(event_id, f"a chat of type {message.chat.type[:40]!r}", bot=bot)
    source = _source(message, account=bot.account)
    if source is None:
        return unreadable(event_id, "a message without a sender", bot=bot)
    text = message.text or message.caption or ""
    # A direct chat is always with the bot itself.
    is_mention = source.chat_type is ChatType.DM or bot.is_addressed(text) or _is_reply_to(bot, message)
    is_mention = is_mention or raw.get("media_group_id") in albums
    if settings.TELEGRAM_REQUIRE_MENTION and not is_mention:
        return None
    if message.text is None:
        medium = _medium(raw)
        if medium is None:
            unknown = ", ".join(sorted(set(raw) - KNOWN_FIELDS))[:200]
            return unreadable(event_id, f"a message of a kind not known: {unknown}", bot=bot) if unknown else None
        text = f"{medium} {text}".strip()
    else:
        text = bot.without_own_name(text)
    source = replace(source, is_mention=is_mention)
    files = _files(raw) if message.text is None else ()
    message_id = str(message.message_id)
    return InboundEvent(event_id=event_id, source=source, text=text, message_id=message_id, attachments=files)


def _read_press(raw: Any, *, bot: Bot) -> ButtonPress | None:
    """A press of a button below a message of the bot's, in the chat where it stands; others are none of ours."""
    match raw:
        case {"id": str(query_id), "from": dict(sender), "message": dict(below), "data": str(value)}:
            # Whoever pressed, in the place of the message; its own author is the bot.
            place = {name: found for name, found in below.items() if name not in ("from", "sender_chat")}
            message = _validated({**place, "from": sender})
            source = _source(message, account=bot.account) if message.chat.type in CHAT_TYPES else None
            if source:
                return ButtonPress(query_id=query_id, source=source, value=value, message_id=str(message.message_id))
    return None


def _validated(raw: Any) -> Message:
    if isinstance(raw, dict):
        raw = {field: value for field, value in raw.items() if field in READ_FIELDS}
        if isinstance(reply := raw.get("reply_to_message"), dict):
            raw["reply_to_message"] = {field: value for field, value in reply.items() if field in READ_REPLY_FIELDS}
    return Message.model_validate(raw)


def _source(message: Message, *, account: str) -> SessionSource | None:
    """Where a message comes from. Anonymous admins and channels write in the name of a chat, which then is the user."""
    chat, sender = message.chat, message.from_user
    if message.sender_chat:
        user_id, user_name, is_bot = message.sender_chat.id, _chat_name(message.sender_chat), False
    elif sender:
        user_id, user_name, is_bot = sender.id, sender.full_name, sender.is_bot
    else:
        return None
    return SessionSource(
        platform="telegram",
        account=account,
        chat_id=str(chat.id),
        chat_type=CHAT_TYPES[TelegramChatType(chat.type)],
        chat_name=_name(_chat_name(chat)),
        # Without `is_topic_message` the number is that of a chain of replies.
        thread_id=str(message.message_thread_id or "") if message.is_topic_message else "",
        user_id=str(user_id),
        user_name=_name(user_name),
        is_bot=is_bot,
    )


def _chat_name(chat: Chat) -> str:
    return chat.title or " ".join(filter(None, (chat.first_name, chat.last_name))) or chat.username or ""


def _name(found: object) -> str:
    return clean(str(found))[:LONGEST_NAME]


def _is_reply_to(bot: Bot, message: Message) -> bool:
    reply = message.reply_to_message
    # Every message of a topic replies to the one that opened it, which may be the bot's.
    is_topics_own = reply is not None and message.is_topic_message and reply.message_id == message.message_thread_id
    sender = reply.from_user if reply and not is_topics_own else None
    return sender is not None and sender.id == bot.user_id


def _medium(raw: dict[str, Any]) -> str | None:
    """What a message shows that is no text, as `[photo]` or `[file: plan.pdf]`."""
    for field, word in MEDIA.items():
        if field in raw:
            shown = raw[field]
            detail = shown.get(DETAILS.get(field, "")) if isinstance(shown, dict) else None
            if not isinstance(detail, str) or not detail:
                return f"[{word}]"
            return f"[{word}: {clean_name(_name(detail)) if field in FILES else _name(detail)}]"
    return None


def _files(raw: dict[str, Any]) -> tuple[Attachment, ...]:
    """The file that a message shows; of a photo, which comes in several sizes, the largest."""
    field = next((field for field in FILES if field in raw), "")
    shown: Any = raw.get(field)
    if isinstance(shown, list):
        sizes = [size for size in shown if isinstance(size, dict)]
        shown = max(sizes, key=lambda size: _whole(size.get("width")) * _whole(size.get("height")), default=None)
    file_id = shown.get("file_id") if isinstance(shown, dict) else None
    if not isinstance(file_id, str) or not FILE_ID.fullmatch(file_id):
        return ()
    album, name = raw.get("media_group_id"), shown.get("file_name")
    return (
        Attachment(
            kind=FILES[field],
            name=_name(name) if isinstance(name, str) else MEDIA[field],
            file_id=file_id,
            size=_whole(shown.get("file_size")),
            album=_name(album) if isinstance(album, str) else "",
        ),
    )


def _whole(found: object) -> int:
    return found if type(found) is int and 0 <= found < 2**53 else 0


def _digest(raw: object) -> str:
    # The same update without a number is one event, however often it is handed out.
    try:
        return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:32]
    except RecursionError:
        return "nested"
