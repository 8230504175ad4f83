"""The Telegram peer itself: that it is as strict as it says, that aiogram's own client agrees, and its command."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import unittest
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramAPIError, TelegramBadRequest, TelegramForbiddenError, TelegramRetryAfter
from aiogram.types import MessageEntity, ReplyParameters
from django.conf import settings

from tests.peers.telegram import TOKEN, TelegramPeer

GROUP = -1001


class PeerTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.peer = TelegramPeer()
        self.peer.start()
        self.addCleanup(self.peer.stop)

    def call(self, method: str, token: str = TOKEN, **parameters: Any) -> Any:
        """The result, or the error's code and description."""
        url = f"{self.peer.url}/bot{token}/{method}"
        body = json.dumps(parameters).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)["result"]
        except urllib.error.HTTPError as error:
            found = json.load(error)
            return found["error_code"], found["description"]

    def ids(self, **parameters: Any) -> list[int]:
        return [update["update_id"] for update in self.call("getUpdates", **parameters)]


class Strictness(PeerTestCase):
    def test_a_wrong_token_and_a_wrong_method_are_refused(self) -> None:
        self.assertEqual(self.call("getMe", token="123456:other"), (401, "Unauthorized"))
        self.assertEqual(self.call("sendPigeon"), (404, "Not Found"))

    def test_wrong_messages_are_refused(self) -> None:
        self.peer.push_text("hello", chat_id=1)
        bold = {"type": "bold", "offset": 0, "length": 1}
        wrong: dict[str, dict[str, Any]] = {
            "chat not found": {"chat_id": 2, "text": "x"},
            "must be a number": {"chat_id": "x", "text": "x"},
            "thread not found": {"text": "x", "message_thread_id": 5},
            "text is empty": {"text": " \n"},
            "message text is empty": {},
            "too long": {"text": "x" * 4097},
            "is too long": {"text": "😀" * 2049},
            "UTF-8": {"text": "\ud83d"},
            "unknown parameters": {"text": "x", "colour": "red"},
            "replied not found": {"text": "x", "reply_parameters": {"message_id": 77}},
            "is outside": {"text": "x", "entities": [bold | {"length": 2}]},
            "UTF-16 symbol": {"text": "😀", "entities": [bold]},
            "can't parse MessageEntity": {"text": "x", "entities": [bold | {"type": "loud"}]},
            "find end tag": {"text": "<b>x", "parse_mode": "HTML"},
            "Unsupported start tag": {"text": "<h1>x</h1>", "parse_mode": "HTML"},
            "Unmatched": {"text": "<b><i>x</b></i>", "parse_mode": "HTML"},
            "reserved": {"text": "1. x", "parse_mode": "MarkdownV2"},
            "end of an entity": {"text": "*x", "parse_mode": "MarkdownV2"},
        }
        for words, parameters in wrong.items():
            with self.subTest(words):
                code, description = self.call("sendMessage", **{"chat_id": 1} | parameters)
                self.assertEqual(code, 400)
                self.assertIn(words, description)
        self.assertEqual(self.peer.messages(), [])

    def test_menus_are_as_strict_and_are_kept_by_their_scope(self) -> None:
        good = {"command": "new", "description": "Begins"}
        many = [good | {"command": f"c{number}"} for number in range(101)]
        chat = {"scope": {"type": "chat", "chat_id": 1}}
        wrong: dict[str, dict[str, Any]] = {
            "BOT_COMMAND_INVALID": {"commands": [good | {"command": "New-one"}]},
            "COMMAND_INVALID": {"commands": [good, good]},
            "BOT_COMMAND_DESCRIPTION_INVALID": {"commands": [good | {"description": "x" * 257}]},
            "DESCRIPTION_INVALID": {"commands": [good | {"description": ""}]},
            "BOT_COMMANDS_TOO_MUCH": {"commands": many},
            "parse BotCommand": {"commands": ["new"]},
            "can't parse commands": {},
            "unsupported scope": {"commands": [good], "scope": {"type": "everybody"}},
            "wrong fields": {"commands": [good], "scope": {"type": "chat"}},
            "chat not found": {"commands": [good], **chat},
        }
        for words, parameters in wrong.items():
            with self.subTest(words):
                code, description = self.call("setMyCommands", **parameters)
                self.assertEqual(code, 400)
                self.assertIn(words, description)
        self.peer.push_text("hello", chat_id=1)
        self.assertIs(self.call("setMyCommands", commands=[good], **chat), True)
        self.assertEqual(self.call("getMyCommands", **chat), [good])
        self.assertEqual((self.call("getMyCommands"), self.peer.menu("chat", chat_id=1)), ([], ["new"]))
        self.assertIs(self.call("deleteMyCommands", **chat), True)
        self.assertIsNone(self.peer.menu("chat", chat_id=1))

    def test_right_messages_are_recorded_as_they_were_sent(self) -> None:
        self.peer.push_text("hello", chat_id=1)
        self.peer.push_text("hello", chat_id=GROUP, chat_type="supergroup", thread_id=7)
        self.call("sendMessage", chat_id=1, text="😀" * 2048)
        self.call("sendMessage", chat_id=GROUP, text="<b>a</b> &lt;", parse_mode="HTML", message_thread_id=7)
        first, second = self.peer.messages()
        self.assertEqual((first["text"], first["thread_id"], first["answered"]), ("😀" * 2048, None, True))
        self.assertEqual((second["shown"], second["thread_id"]), ("a <", 7))

    def test_updates_are_handed_out_until_a_poll_asks_for_later_ones(self) -> None:
        first, second = self.peer.push_text("1"), self.peer.push_text("2")
        self.assertEqual(self.ids(), [first, second])
        self.assertEqual(self.ids(limit=1), [first])
        self.assertEqual(self.ids(offset=second), [second])
        self.assertEqual(self.ids(offset=second + 1), [])
        self.assertEqual(self.peer.stats["confirmed"], 2)
        self.assertEqual(self.peer.stats["confirmed_unseen"], 0)

    def test_an_acknowledgement_of_what_was_never_handed_out_is_counted(self) -> None:
        number = self.peer.push_text("1")
        self.call("getUpdates", offset=number + 1)
        self.assertEqual(self.peer.stats["confirmed_unseen"], 1)

    def test_updates_that_are_not_asked_for_are_dropped(self) -> None:
        self.peer.push({"poll": {}})
        number = self.peer.push_text("1")
        self.assertEqual(self.ids(allowed_updates=["message"]), [number])

    def test_an_update_can_be_repeated_after_its_acknowledgement(self) -> None:
        number = self.peer.push_text("1")
        self.ids()
        self.ids(offset=number + 1)
        self.peer.repeat(number)
        self.assertEqual(self.ids(offset=number + 1), [number])
        self.assertEqual(self.ids(offset=number + 1), [])

    def test_a_second_poll_ends_the_first_with_409(self) -> None:
        found: list[Any] = []
        first = threading.Thread(target=lambda: found.append(self.call("getUpdates", timeout=20)))
        first.start()
        self.peer.wait(lambda peer: peer.stats["polling"])
        self.assertEqual(self.call("getUpdates", timeout=0), [])
        first.join()
        self.assertEqual(found[0][0], 409)
        self.assertEqual(self.peer.stats["conflicts"], 1)

    def test_a_poll_is_refused_while_a_webhook_is_set(self) -> None:
        self.peer.webhook = "https://elsewhere"
        self.assertEqual(self.call("getUpdates")[0], 409)
        self.call("deleteWebhook")
        self.assertEqual(self.call("getUpdates"), [])


class WithAiogram(PeerTestCase):
    """Telegram's rules as the authors of a client know them: what aiogram sends is taken, what it reads is right."""

    def run_bot(self, use: Callable[[Bot], Awaitable[None]]) -> None:
        async def run() -> None:
            server = TelegramAPIServer.from_base(self.peer.url)
            async with Bot(TOKEN, session=AiohttpSession(api=server)) as bot:
                await use(bot)

        asyncio.run(run())

    def test_its_bot_polls_and_answers(self) -> None:
        number = self.peer.push_text("hello", chat_id=GROUP, chat_type="supergroup", thread_id=7)

        async def use(bot: Bot) -> None:
            self.assertEqual((await bot.get_me()).username, "hermes_test_bot")
            (update,) = await bot.get_updates(timeout=1, allowed_updates=["message"])
            message = update.message
            assert message and message.from_user
            self.assertEqual((update.update_id, message.text, message.message_thread_id), (number, "hello", 7))
            await bot.send_chat_action(GROUP, "typing", message_thread_id=7)
            sent = await bot.send_message(
                GROUP,
                "a b",
                message_thread_id=7,
                entities=[MessageEntity(type="bold", offset=0, length=1)],
                reply_parameters=ReplyParameters(message_id=message.message_id),
            )
            self.assertEqual(sent.text, "a b")
            self.assertEqual(await bot.get_updates(offset=number + 1), [])

        self.run_bot(use)
        (message,) = self.peer.messages()
        self.assertEqual((message["text"], message["reply_to"], message["entities"][0]["type"]), ("a b", 1, "bold"))
        self.assertEqual(self.peer.stats["typing"], 1)

    def test_its_bot_understands_the_errors(self) -> None:
        self.peer.push_text("hello", chat_id=1)
        self.peer.push_text("hello", chat_id=2)
        self.peer.push_text("hello", chat_id=3)
        self.peer.fault("error", chat_id=1, status=403, description="Forbidden: bot was blocked by the user")
        self.peer.fault("flood", chat_id=2, retry_after=7, times=1)

        async def use(bot: Bot) -> None:
            with self.assertRaises(TelegramForbiddenError):
                await bot.send_message(1, "x")
            with self.assertRaises(TelegramRetryAfter) as caught:
                await bot.send_message(2, "x")
            self.assertEqual(caught.exception.retry_after, 7)
            with self.assertRaises(TelegramBadRequest):
                await bot.send_message(3, "x" * 4097)
            with self.assertRaisesRegex(TelegramAPIError, "chat not found"):
                await bot.send_message(4, "x")

        self.run_bot(use)


class Faults(PeerTestCase):
    def test_a_dropped_message_is_recorded_but_not_answered(self) -> None:
        self.peer.push_text("hello", chat_id=1)
        self.peer.fault("drop", times=1)
        with self.assertRaises(OSError):
            self.call("sendMessage", chat_id=1, text="x")
        self.assertEqual([message["answered"] for message in self.peer.messages()], [False])

    def test_whoever_does_not_wait_out_a_flood_is_counted(self) -> None:
        self.peer.push_text("hello", chat_id=1)
        self.peer.fault("flood", retry_after=60, times=1)
        self.assertEqual(self.call("sendMessage", chat_id=1, text="x")[0], 429)
        self.assertEqual(self.call("sendMessage", chat_id=1, text="x")[0], 429)
        self.assertEqual(self.peer.stats["impatient"], 1)


class Command(unittest.TestCase):
    def test_it_serves_as_a_command_with_its_controls(self) -> None:
        command = [sys.executable, "-m", "tests.peers.telegram"]
        with subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                url = process.stdout.readline().strip()

                def ask(path: str, body: Any = None) -> Any:
                    data = None if body is None else json.dumps(body).encode()
                    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
                    with urllib.request.urlopen(request, timeout=10) as response:
                        return json.load(response)

                ids = ask("/_/push", {"texts": [{"text": "a", "chat_id": 5}], "raw": ["{"]})["update_ids"]
                ask(f"/bot{TOKEN}/sendMessage", {"chat_id": 5, "text": "b"})
                self.assertEqual([update["update_id"] for update in ask("/_/updates")], ids)
                self.assertEqual([message["text"] for message in ask("/_/messages")], ["b"])
                self.assertEqual(ask("/_/stats")["pushed"], 2)
            finally:
                process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=10), 0)
