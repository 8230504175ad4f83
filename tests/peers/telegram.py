"""A Bot API server for tests and benchmarks, over real sockets, as strict as Telegram's own.

In a test: `with TelegramPeer() as peer:` serves `peer.url` (for TELEGRAM_BASE_URL) from a thread. As a command, for
tests that kill processes and for benchmarks: `python -m tests.peers.telegram` prints its URL as the first line of its
output and serves until SIGTERM; `POST /_/push`, `POST /_/fault`, `GET /_/stats`, `GET /_/messages` and
`GET /_/updates` stand for the methods and attributes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.peers.serving import PeerServer
from tests.peers.telegram_chats import Chats, Update, Updates
from tests.peers.telegram_control import control
from tests.peers.telegram_edits import EditCalls
from tests.peers.telegram_faults import Fault, Faults
from tests.peers.telegram_files import FileCalls
from tests.peers.telegram_requests import (
    PARAMETERS,
    BadCall,
    check_action,
    check_markup,
    check_notice,
    check_text,
    read_commands,
    read_parameters,
    read_scope,
    result,
    whole_number,
)

TOKEN = "123456:a-token-for-tests"
USERNAME = "hermes_test_bot"


@dataclass(slots=True)
class Poll:
    """An open getUpdates."""

    kinds: list[str] | None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_replaced: bool = False


class TelegramPeer(EditCalls, FileCalls, PeerServer):
    """The server. Its methods and attributes may be used from any thread."""

    def __init__(self, *, token: str = TOKEN, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host=host, port=port)
        self.token = token
        self.me = {"id": int(token.partition(":")[0]), "is_bot": True, "first_name": "Hermes", "username": USERNAME}
        self.webhook = ""
        """Where this is set, polls are refused until the bot deletes it."""
        self.file_paths = {}
        self._lock = threading.RLock()
        self._updates = Updates()
        self._chats = Chats()
        self._faults = Faults()
        self._counts: Counter[str] = Counter()
        self._calls: list[dict[str, Any]] = []
        self._poll: Poll | None = None
        self._menus: dict[str, list[dict[str, str]]] = {}
        self._query_numbers = itertools.count(1)
        self._queries: dict[str, str] = {}
        """Presses that were not answered yet, with nothing, and those that were, with what was shown."""

    # --- What happens in the chats --------------------------------------------------------------------------

    def push_text(self, text: str, **fields: Any) -> int:
        """A person writes; see `Chats.text_update`. Returns the update's number."""
        with self._lock:
            return self.push(self.text_update(text, **fields))

    def text_update(self, text: str, **fields: Any) -> dict[str, Any]:
        """The same, not pushed yet."""
        with self._lock:
            return self._chats.text_update(text, **fields)

    def push_press(self, data: str, *, message_id: int, chat_id: int = 501, user_id: int = 501) -> int:
        """A person presses a button below a message of the bot's. Returns the update's number."""
        with self._lock:
            (message,) = [
                found
                for found in self._chats.messages
                if (found["chat_id"], found["message_id"]) == (chat_id, message_id)
            ]
            query_id = f"query{next(self._query_numbers)}"
            self._queries[query_id] = ""
            update = self._chats.press_update(data, message=message, user_id=user_id, query_id=query_id)
            return self.push(update)

    def push(self, body: dict[str, Any] | bytes, *, number: int | None = None, is_late: bool = False) -> int:
        """Queues any update; see `Updates.push`."""
        with self._lock:
            if isinstance(body, dict):
                self._chats.note(body)
            found = self._updates.push(body, number=number, is_late=is_late)
        self._wake()
        return found

    def repeat(self, number: int) -> None:
        """Hands an update out a second time."""
        with self._lock:
            self._updates.repeat(number)
        self._wake()

    def fault(self, kind: str, **fields: Any) -> Fault:
        """From now on something goes wrong; see `Fault`."""
        with self._lock:
            fault = Fault(kind, **fields)
            self._faults.add(fault)
            return fault

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    # --- What was seen -----------------------------------------------------------------------------------------

    def messages(self, *, chat_id: int | None = None, since: int = 0) -> list[dict[str, Any]]:
        """What the bot sent, in order; see `Chats.messages`."""
        with self._lock:
            found = self._chats.messages[since:]
        return [dict(message) for message in found if chat_id in (None, message["chat_id"])]

    def texts(self, chat_id: int | None = None) -> list[str]:
        return [message["text"] for message in self.messages(chat_id=chat_id)]

    def shown(self, chat_id: int | None = None) -> list[str]:
        """What people see now of what the bot sent: as it was edited last, without what was deleted."""
        return [message["shown"] for message in self.messages(chat_id=chat_id) if not message["deleted_at"]]

    def updates(self, *, since: int = 0) -> list[dict[str, Any]]:
        """Every update that was pushed: `update_id`, `pushed_at`, `handed_out` (times), `confirmed_at`."""
        with self._lock:
            return [update.as_json() for update in self._updates.all[since:]]

    def calls(self, method: str = "") -> list[dict[str, Any]]:
        """The last calls but for polls and typing: `method`, `at`, `parameters`, `status`."""
        with self._lock:
            return [dict(call) for call in self._calls if method in ("", call["method"])]

    def menu(self, kind: str = "default", **fields: int) -> list[str] | None:
        """The names of the commands that are set for a scope, such as `menu("chat", chat_id=5)`; None for none."""
        with self._lock:
            found = self._menus.get(json.dumps({"type": kind, **fields}, sort_keys=True))
        return None if found is None else [command["command"] for command in found]

    @property
    def stats(self) -> dict[str, Any]:
        with self._lock:
            updates = self._updates.all
            return {
                "pushed": len(updates),
                "handed_out": sum(update.times_handed_out for update in updates),
                "confirmed": sum(update.confirmed_at is not None for update in updates),
                "confirmed_unseen": self._updates.confirmed_unseen,
                "messages": len(self._chats.messages),
                "typing": sum(self._chats.typing.values()),
                "impatient": self._faults.impatient,
                "polling": self._poll is not None,
                **{name: self._counts[name] for name in ("polls", "conflicts", "refused", "downloads")},
            }

    def notices(self) -> list[str]:
        """What was shown to whoever pressed a button, in order."""
        with self._lock:
            return [text for text in self._queries.values() if text]

    def wait(self, until: Callable[[TelegramPeer], object], *, seconds: float = 20, what: str = "") -> None:
        """Waits until `until(peer)` is true; raises AssertionError with what was seen after `seconds`."""
        deadline = time.monotonic() + seconds
        while not until(self):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"waited {seconds} s for {what or 'it'}; seen: {self.stats} {self.messages()[-5:]}"
                )
            time.sleep(0.01)

    # --- The server --------------------------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        _, first, *rest = request.path.split("/")
        if first == "_":
            return await self._control(request, "/".join(rest))
        if first == "file":
            return await self._download(request, *rest)
        method = next((name for name in PARAMETERS if [name.lower()] == [word.lower() for word in rest]), "")
        call: dict[str, Any] = {"method": method, "at": time.time(), "parameters": {}, "status": None}
        try:
            if not first.startswith("bot") or not method:
                raise BadCall("Not Found", code=404)
            if first != f"bot{self.token}":
                raise BadCall("Unauthorized", code=401)
            call["parameters"] = await read_parameters(request, method)
            response = await self._meet_faults(request, method, call["parameters"])
        except BadCall as error:
            with self._lock:
                self._counts["refused"] += 1
            response = web.json_response(error.body, status=error.code)
        call["status"] = response.status
        if method not in ("getUpdates", "sendChatAction"):
            with self._lock:
                self._calls.append(call)
                del self._calls[:-1000]
        return response

    async def _control(self, request: web.BaseRequest, what: str) -> web.Response:
        return await control(self, request, what)

    async def _meet_faults(
        self, request: web.BaseRequest, method: str, parameters: dict[str, Any]
    ) -> web.StreamResponse:
        chat_id = parameters.get("chat_id")
        with self._lock:
            fault = self._faults.find(method=method, chat_id=chat_id)
        match fault and fault.kind:
            case "error":
                raise BadCall(fault.description, code=fault.status, **(fault.parameters or {}))
            case "flood":
                words = f"Too Many Requests: retry after {fault.retry_after}"
                raise BadCall(words, code=429, retry_after=fault.retry_after)
            case "html":
                return web.Response(body=b"<html>a proxy</html>", status=fault.status, content_type="text/html")
            case "refuse":
                return self._hang_up(request)
            case "slow":
                await asyncio.sleep(fault.seconds)
        answer = await getattr(self, f"_{method}")(parameters)
        if fault and fault.kind == "drop":
            if method.startswith("send") and method != "sendChatAction":
                with self._lock:
                    self._chats.messages[-1]["answered"] = False
            return self._hang_up(request)
        body = answer[: len(answer) // 2] if fault and fault.kind == "garbage" else answer
        return web.Response(body=body, content_type="application/json")

    def _hang_up(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        # What a client's own departure raises keeps aiohttp from answering.
        raise asyncio.CancelledError

    async def _getMe(self, parameters: dict[str, Any]) -> bytes:
        return result(self.me | {"can_join_groups": True, "can_read_all_group_messages": False})

    async def _deleteWebhook(self, parameters: dict[str, Any]) -> bytes:
        self.webhook = ""
        return result(True)

    async def _getUpdates(self, parameters: dict[str, Any]) -> bytes:
        if self.webhook:
            words = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook first"
            raise BadCall(words, code=409)
        limit = whole_number(parameters, "limit", default=100, least=1, most=100)
        seconds = whole_number(parameters, "timeout", default=0, least=0, most=50)
        offset = whole_number(parameters, "offset", default=0, least=0, most=2**63)
        poll = Poll(parameters.get("allowed_updates"))
        with self._lock:
            self._counts["polls"] += 1
            if self._poll:
                self._counts["conflicts"] += 1
                self._poll.is_replaced = True
                self._poll.news.set()
            self._poll = poll
            self._updates.confirm(offset=offset)
        found: list[Update] = []
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while not (found := self._hand_out(poll, limit)):
                        await poll.news.wait()
                        poll.news.clear()
        finally:
            with self._lock:
                if self._poll is poll:
                    self._poll = None
        return b'{"ok":true,"result":[' + b",".join(update.body for update in found) + b"]}"

    def _hand_out(self, poll: Poll, limit: int) -> list[Update]:
        if poll.is_replaced:
            words = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
            raise BadCall(words, code=409)
        with self._lock:
            return self._updates.hand_out(limit=limit, kinds=poll.kinds)

    async def _sendMessage(self, parameters: dict[str, Any]) -> bytes:
        with self._lock:
            chat = self._chat(parameters)
            shown = check_text(parameters)
            check_markup(parameters)
            reply = parameters.get("reply_parameters") or {}
            if reply and not (reply.get("message_id") in chat.message_ids or reply.get("allow_sending_without_reply")):
                raise BadCall("Bad Request: message to be replied not found")
            message = self._chats.record(chat=chat, parameters=parameters, shown=shown)
            message["answered"] = True
        return result(
            {
                "message_id": message["message_id"],
                "from": self.me,
                "chat": {"id": chat.chat_id, "type": chat.kind},
                "date": int(message["at"]),
                "text": shown,
            }
        )

    async def _answerCallbackQuery(self, parameters: dict[str, Any]) -> bytes:
        with self._lock:
            query_id = str(parameters.get("callback_query_id"))
            if self._queries.get(query_id, "answered"):
                raise BadCall("Bad Request: query is too old and response timeout expired or query ID is invalid")
            check_notice(parameters)
            self._queries[query_id] = str(parameters.get("text") or " ")
        return result(True)

    async def _sendChatAction(self, parameters: dict[str, Any]) -> bytes:
        with self._lock:
            chat = self._chat(parameters)
            check_action(parameters)
            self._chats.typing[chat.chat_id] += 1
        return result(True)

    async def _getMyCommands(self, parameters: dict[str, Any]) -> bytes:
        with self._lock:
            return result(self._menus.get(self._scope(parameters), []))

    async def _setMyCommands(self, parameters: dict[str, Any]) -> bytes:
        with self._lock:
            self._menus[self._scope(parameters)] = read_commands(parameters)
        return result(True)

    async def _deleteMyCommands(self, parameters: dict[str, Any]) -> bytes:
        with self._lock:
            self._menus.pop(self._scope(parameters), None)
        return result(True)

    def _scope(self, parameters: dict[str, Any]) -> str:
        scope = read_scope(parameters)
        if "chat_id" in scope:
            self._chat({"chat_id": scope["chat_id"]})
        return json.dumps(scope, sort_keys=True)

    def _wake(self) -> None:
        with self._lock:
            if self._poll and self.loop:
                self.loop.call_soon_threadsafe(self._poll.news.set)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.peers.telegram", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--token", default=TOKEN, help=f"the only one taken (default: {TOKEN})")
    options = parser.parse_args()
    TelegramPeer(token=options.token, host=options.host, port=options.port).serve_as_command()


if __name__ == "__main__":
    main()
