"""What the Telegram peer keeps: updates that wait for the bot, the chats it knows, and what the bot sent to them."""

from __future__ import annotations

import itertools
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

FIRST_UPDATE = 1000


@dataclass(slots=True)
class Update:
    """One update. `body` is what is handed out, also where that is no JSON. Times are those of `time.time()`."""

    number: int
    body: bytes
    kind: str
    pushed_at: float
    is_late: bool = False
    """Handed out even where its number is already acknowledged, as the real server would not do."""
    times_handed_out: int = 0
    confirmed_at: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "update_id": self.number, "pushed_at": self.pushed_at, "handed_out": self.times_handed_out,
            "confirmed_at": self.confirmed_at,
        }  # fmt: skip


class Updates:
    """The queue of a bot. An update is forgotten once a poll asks for a higher number."""

    def __init__(self) -> None:
        self.all: list[Update] = []
        self.confirmed_unseen = 0
        """Updates that were acknowledged but never handed out: lost by whoever polls."""
        self._waiting: list[Update] = []
        self._next = itertools.count(FIRST_UPDATE)

    def push(self, body: dict[str, Any] | bytes, *, number: int | None = None, is_late: bool = False) -> int:
        """Queues an update: a body without its number, or the bytes to hand out as they are. Returns its number."""
        if number is None:
            number = next(self._next)
        if isinstance(body, bytes):
            raw, kind = body, ""
        else:
            kind = next(iter(body), "")
            raw = json.dumps({"update_id": number, **body}).encode()
        update = Update(number, raw, kind, time.time(), is_late)
        self.all.append(update)
        self._waiting.append(update)
        return number

    def repeat(self, number: int) -> None:
        """Hands an update out once more, whether it was acknowledged or not."""
        earlier = next(update for update in self.all if update.number == number)
        self.push(earlier.body, number=number, is_late=True)

    def confirm(self, *, offset: int) -> None:
        kept = []
        for update in self._waiting:
            if update.number >= offset or (update.is_late and not update.times_handed_out):
                kept.append(update)
                continue
            update.confirmed_at = time.time()
            self.confirmed_unseen += not update.times_handed_out
        self._waiting = kept

    def hand_out(self, *, limit: int, kinds: list[str] | None) -> list[Update]:
        """The first that wait. Kinds that are not asked for are dropped."""
        if kinds:
            self._waiting = [update for update in self._waiting if not update.kind or update.kind in kinds]
        found = self._waiting[:limit]
        for update in found:
            update.times_handed_out += 1
        return found


@dataclass(slots=True)
class Chat:
    chat_id: int
    kind: str
    message_ids: set[int] = field(default_factory=set)
    threads: set[int] = field(default_factory=set)
    last_message_id: int = 0

    def new_message_id(self) -> int:
        self.last_message_id += 1
        self.message_ids.add(self.last_message_id)
        return self.last_message_id


class Chats:
    """The chats that the bot may write to: those it got a message from."""

    def __init__(self) -> None:
        self.known: dict[int, Chat] = {}
        self.messages: list[dict[str, Any]] = []
        """What the bot sent: `chat_id`, `thread_id`, `message_id`, `text` (as sent), `shown`, `entities`, `reply_to`,
        `buttons` (as they are now), `caption`, `at`, for a file `method`, `file_name` and `bytes`, and `answered`,
        which is off where the connection was dropped afterwards. `history` has what it showed before it was edited, the
        oldest first; `deleted_at` is when it was taken out."""
        self.files: dict[str, bytes] = {}
        """What people sent, by file id."""
        self._last_file = 0
        self.typing: dict[int, int] = defaultdict(int)

    def chat(self, chat_id: int, *, kind: str = "private") -> Chat:
        if chat_id not in self.known:
            self.known[chat_id] = Chat(chat_id, kind)
        return self.known[chat_id]

    def note(self, body: dict[str, Any]) -> None:
        """Remembers the chat, topic and message that an update speaks of, however it was made."""
        for found in body.values():
            match found:
                case {"chat": {"id": int(chat_id), "type": str(kind)}, "message_id": int(message_id)}:
                    chat = self.chat(chat_id, kind=kind)
                    chat.message_ids.add(message_id)
                    chat.last_message_id = max(chat.last_message_id, message_id)
                    if found.get("is_topic_message") and isinstance(found.get("message_thread_id"), int):
                        chat.threads.add(found["message_thread_id"])

    def text_update(
        self,
        text: str,
        *,
        chat_id: int = 501,
        user_id: int = 501,
        chat_type: str = "private",
        thread_id: int | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """An update as Telegram makes it of a person's text; `fields` are added to the message, or replace its own."""
        chat = self.chat(chat_id, kind=chat_type)
        title = {"first_name": "Ann"} if chat_type == "private" else {"title": f"Group {chat_id}"}
        message: dict[str, Any] = {
            "message_id": chat.new_message_id(),
            "from": {"id": user_id, "is_bot": False, "first_name": "Ann", "language_code": "en"},
            "chat": {"id": chat_id, "type": chat_type, **title},
            "date": int(time.time()),
            "text": text,
        }
        if thread_id is not None:
            message |= {"message_thread_id": thread_id, "is_topic_message": True}
        message |= fields
        return {"message": {name: value for name, value in message.items() if value is not None}}

    def file_update(
        self, field: str, body: bytes, *, caption: str | None = None, file_size: int | None = None, **fields: Any
    ) -> dict[str, Any]:
        """An update as Telegram makes it of a file that a person sends, as `photo`, `voice`, `document` or so.

        `fields` are those of the file (`file_name`, `mime_type`), of the message, and of `text_update`. `file_size` is
        what is claimed of it instead of the truth.
        """
        self._last_file += 1
        file_id = f"file-{self._last_file}"
        self.files[file_id] = body
        own = {name: fields.pop(name) for name in ("file_name", "mime_type", "emoji") if name in fields}
        shown: Any = {"file_id": file_id, "file_unique_id": f"u{file_id}", **own}
        shown["file_size"] = len(body) if file_size is None else file_size
        if field == "photo":
            thumbnail = {"file_id": f"thumb-{file_id}", "file_unique_id": "t", "width": 90, "height": 90}
            shown = [thumbnail, {**shown, "width": 800, "height": 600}]
        update = self.text_update("", caption=caption, **{field: shown}, **fields)
        del update["message"]["text"]
        return update

    def press_update(self, data: str, *, message: dict[str, Any], user_id: int, query_id: str) -> dict[str, Any]:
        """An update as Telegram makes it of a person's press of a button below `message`, which the bot sent."""
        chat = self.known[message["chat_id"]]
        below: dict[str, Any] = {
            "message_id": message["message_id"],
            "from": {"id": 123456, "is_bot": True, "first_name": "Hermes"},
            "chat": {"id": chat.chat_id, "type": chat.kind},
            "date": int(message["at"]),
            "text": message["shown"],
        }
        if message["thread_id"]:
            below |= {"message_thread_id": message["thread_id"], "is_topic_message": True}
        sender = {"id": user_id, "is_bot": False, "first_name": "Ann", "language_code": "en"}
        query = {"id": query_id, "from": sender, "message": below, "chat_instance": "1", "data": data}
        return {"callback_query": query}

    def record(self, *, chat: Chat, parameters: dict[str, Any], shown: str) -> dict[str, Any]:
        message = {
            "chat_id": chat.chat_id,
            "thread_id": int(parameters.get("message_thread_id") or 0) or None,
            "message_id": chat.new_message_id(),
            "text": parameters.get("text", ""),
            "shown": shown,
            "entities": parameters.get("entities") or [],
            "parse_mode": parameters.get("parse_mode"),
            "reply_to": (parameters.get("reply_parameters") or {}).get("message_id"),
            "caption": parameters.get("caption", ""),
            "buttons": (parameters.get("reply_markup") or {}).get("inline_keyboard", []),
            "at": time.time(),
            "answered": False,
            "history": [],
            "deleted_at": None,
        }
        self.messages.append(message)
        return message

    def sent(self, *, chat: Chat, message_id: int) -> dict[str, Any] | None:
        """A message of the bot's own that is still in the chat."""
        for message in self.messages:
            if (message["chat_id"], message["message_id"]) == (chat.chat_id, message_id):
                return None if message["deleted_at"] else message
        return None

    def edit(self, message: dict[str, Any], *, parameters: dict[str, Any], shown: str) -> bool:
        """Whether that changed anything."""
        entities = parameters.get("entities") or []
        if (message["shown"], message["entities"]) == (shown, entities):
            return False
        message["history"].append(message["shown"])
        message |= {"text": parameters["text"], "shown": shown, "entities": entities, "edited_at": time.time()}
        return True

    def delete(self, message: dict[str, Any], *, chat: Chat) -> None:
        message["deleted_at"] = time.time()
        chat.message_ids.discard(message["message_id"])
