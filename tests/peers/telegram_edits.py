"""The Telegram peer's calls that change a message which the bot has sent."""

from __future__ import annotations

import threading
from typing import Any

from tests.peers.telegram_chats import Chat, Chats
from tests.peers.telegram_requests import BadCall, check_markup, check_text, result, whole_number


class EditCalls:
    """Part of `TelegramPeer`."""

    me: dict[str, Any]
    _lock: threading.RLock
    _chats: Chats

    async def _editMessageText(self, parameters: dict[str, Any]) -> bytes:
        with self._lock:
            message = self._own_message(parameters, "edit")
            if "method" in message:
                raise BadCall("Bad Request: there is no text in the message to edit")
            shown = check_text(parameters)
            if not self._chats.edit(message, parameters=parameters, shown=shown):
                raise BadCall(
                    "Bad Request: message is not modified: specified new message content and reply markup are exactly"
                    " the same as a current content and reply markup of the message"
                )
        return result({"message_id": message["message_id"], "from": self.me, "date": int(message["at"]), "text": shown})

    async def _deleteMessage(self, parameters: dict[str, Any]) -> bytes:
        with self._lock:
            self._chats.delete(self._own_message(parameters, "delete"), chat=self._chat(parameters))
        return result(True)

    def _own_message(self, parameters: dict[str, Any], verb: str) -> dict[str, Any]:
        """The bot's message that a call names. Those of others it may not touch."""
        chat = self._chat(parameters)
        message_id = whole_number(parameters, "message_id", default=0, least=1, most=2**31)
        message = self._chats.sent(chat=chat, message_id=message_id)
        if message is None:
            is_known = message_id in chat.message_ids
            words = f"message can't be {verb}ed".replace("eed", "ed") if is_known else f"message to {verb} not found"
            raise BadCall(f"Bad Request: {words}")
        return message

    def delete_message(self, message_id: int, *, chat_id: int = 501) -> None:
        """A person deletes a message of the bot's."""
        with self._lock:
            chat = self._chats.chat(chat_id)
            message = self._chats.sent(chat=chat, message_id=message_id)
            assert message is not None
            self._chats.delete(message, chat=chat)

    async def _editMessageReplyMarkup(self, parameters: dict[str, Any]) -> bytes:
        with self._lock:
            chat = self._chat(parameters)
            wanted = whole_number(parameters, "message_id", default=0, least=1, most=2**53)
            for message in self._chats.messages:
                if (message["chat_id"], message["message_id"]) == (chat.chat_id, wanted):
                    rows = check_markup(parameters)
                    if rows == message["buttons"]:
                        raise BadCall("Bad Request: message is not modified")
                    message["buttons"] = rows
                    return result({"message_id": wanted, "chat": {"id": chat.chat_id, "type": chat.kind}, "date": 1})
        raise BadCall("Bad Request: message to edit not found")

    def _chat(self, parameters: dict[str, Any]) -> Chat:
        """The chat of a call. A bot may write only where somebody has written to it."""
        chat_id = whole_number(parameters, "chat_id", default=0, least=-(2**53), most=2**53)
        chat = self._chats.known.get(chat_id)
        if chat is None:
            raise BadCall("Bad Request: chat not found")
        if parameters.get("message_thread_id"):
            thread = whole_number(parameters, "message_thread_id", default=0, least=1, most=2**31)
            if thread not in chat.threads:
                raise BadCall("Bad Request: message thread not found")
        return chat
