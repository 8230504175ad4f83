"""Telegram's listener in this process, against the peer: what is accepted, what is acknowledged, what is survived."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

from django.conf import settings
from django.db import DataError, OperationalError
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from gateway_app import doorbell, inbox, metrics
from gateway_app.models import InboundMessage, Listener, OutboundPart
from gateway_app.models.inbox import InboundState
from gateway_app.platforms.telegram.api import MOST_BYTES
from gateway_app.sessions.source import SessionContext
from tests.listeners import ACCOUNT, ListenerThread, telegram_peer, wait

Accept = Callable[..., inbox.Accepted]


class ListeningTestCase(TransactionTestCase):
    def setUp(self) -> None:
        self.peer = telegram_peer(self)

    def wait_confirmed(self, count: int) -> None:
        self.peer.wait(lambda peer: peer.stats["confirmed"] >= count, what=f"{count} acknowledgements")

    def texts(self) -> list[str]:
        return list(
            InboundMessage.objects.filter(state=InboundState.WAITING).order_by("id").values_list("text", flat=True)
        )

    def error(self) -> str:
        return str(Listener.objects.values_list("error", flat=True).get())

    def accept_instead(self, instead: Accept) -> None:
        patch = mock.patch.object(inbox, "accept", instead)
        patch.start()
        self.addCleanup(patch.stop)


class Accepting(ListeningTestCase):
    def test_a_message_becomes_a_row_and_is_acknowledged(self) -> None:
        number = self.peer.push_text("hello", chat_id=77, user_id=77)
        with ListenerThread():
            self.wait_confirmed(1)
        row = InboundMessage.objects.get()
        self.assertEqual(
            (row.platform, row.account, row.event_id, row.text), ("telegram", ACCOUNT, str(number), "hello")
        )
        self.assertEqual(self.peer.stats["confirmed_unseen"], 0)

    def test_nothing_is_acknowledged_before_it_is_committed(self) -> None:
        # Seen to fail with the offset moved before receive() in polling.Poller._take().
        accept, is_well = inbox.accept, threading.Event()

        def refuse(*arguments: Any, **options: Any) -> inbox.Accepted:
            if not is_well.is_set():
                raise OperationalError("the disk is full")
            return accept(*arguments, **options)

        self.accept_instead(refuse)
        self.peer.push_text("hello")
        with ListenerThread():
            self.peer.wait(lambda peer: peer.stats["handed_out"] >= 3)
            self.assertEqual(self.peer.stats["confirmed"], 0)
            wait(lambda: "the database takes no updates" in self.error())
            is_well.set()
            self.wait_confirmed(1)
            wait(lambda: self.error() == "")
        self.assertEqual(self.texts(), ["hello"])

    def test_an_update_that_comes_twice_or_out_of_order_is_accepted_once(self) -> None:
        first = self.peer.push_text("one")
        with ListenerThread():
            self.wait_confirmed(1)
            self.peer.repeat(first)
            self.peer.push(self.peer.text_update("late"), number=first - 5, is_late=True)
            self.peer.push_text("two")
            self.wait_confirmed(4)
        self.assertEqual(sorted(self.texts()), ["late", "one", "two"])

    def test_a_batch_is_accepted_in_the_order_of_its_numbers(self) -> None:
        for number in (5, 3, 4, 3):
            self.peer.push(self.peer.text_update(f"text {number}"), number=number)
        with ListenerThread():
            self.wait_confirmed(4)
        self.assertEqual(self.texts(), ["text 3", "text 4", "text 5"])

    def test_what_is_not_meant_for_the_bot_is_acknowledged_and_counted(self) -> None:
        counter = metrics.ACCEPTED.labels(platform="telegram", outcome="ignored")
        before = counter._value.get()
        self.peer.push_text("among us", chat_id=-5, chat_type="group")
        self.peer.push(b'{"update_id": 1001, "edited_message": {}}', number=1001)
        with ListenerThread():
            self.wait_confirmed(2)
        self.assertFalse(InboundMessage.objects.exists())
        self.assertEqual(counter._value.get() - before, 2)

    def test_many_messages_are_accepted_in_few_transactions(self) -> None:
        for number in range(250):
            self.peer.push_text(f"{number}", chat_id=1000 + number % 50, user_id=1000 + number % 50)
        with mock.patch.object(inbox, "accept", wraps=inbox.accept) as accept, ListenerThread():
            self.wait_confirmed(250)
        self.assertEqual(accept.call_count, 3)
        self.assertEqual(InboundMessage.objects.count(), 250)


class BadInput(ListeningTestCase):
    def rejected(self) -> dict[str, str]:
        return dict(InboundMessage.objects.filter(state=InboundState.REJECTED).values_list("event_id", "reason"))

    def test_an_update_that_is_no_json_costs_no_other(self) -> None:
        self.peer.push_text("before")
        self.peer.push(b'{"update_id":2000,"message":{', number=2000)
        self.peer.push(b'{"update_id" : 2001, "message": \xff"', number=2001)
        self.peer.push(b'{"update_id":2002}}', number=2002)
        self.peer.push(self.peer.text_update("after"), number=2003)
        with ListenerThread():
            self.wait_confirmed(5)
        self.assertEqual(self.texts(), ["before", "after"])
        self.assertEqual(set(self.rejected()), {"2000", "2001", "2002"})

    def test_malformed_updates_are_recorded_and_acknowledged(self) -> None:
        self.peer.push({"message": {"message_id": 1}}, number=2000)
        self.peer.push({"message": "x"}, number=2001)
        self.peer.push(b'{"message":{}}', number=2002)
        self.peer.push(b'"no object"', number=2003)
        self.peer.push(self.peer.text_update("after"), number=2004)
        with ListenerThread():
            self.wait_confirmed(5)
        self.assertEqual(self.texts(), ["after"])
        named = {event_id for event_id in self.rejected() if event_id.startswith("unnamed-")}
        self.assertEqual(set(self.rejected()) - named, {"2000", "2001"})
        self.assertEqual(len(named), 2)

    def test_an_update_without_a_number_is_recorded_once_and_does_not_stop_the_next(self) -> None:
        self.peer.push(b'{"message":{}}', number=2000)
        with ListenerThread():
            self.peer.wait(lambda peer: peer.stats["handed_out"] >= 3)
            self.peer.push(self.peer.text_update("after"), number=2001)
            self.wait_confirmed(2)
        self.assertEqual(len(self.rejected()), 1)
        self.assertEqual(self.texts(), ["after"])

    def test_a_huge_message_is_refused_with_an_answer(self) -> None:
        self.peer.push_text("x" * 3 * 2**20, chat_id=1, user_id=1)
        self.peer.push_text("after", chat_id=1, user_id=1)
        with ListenerThread():
            self.wait_confirmed(2)
        self.assertEqual(self.texts(), ["after"])
        self.assertIn("too long", OutboundPart.objects.get().text)

    def test_an_answer_too_large_to_read_is_asked_for_piece_by_piece(self) -> None:
        with mock.patch("gateway_app.platforms.telegram.api.MOST_BYTES", MOST_BYTES // 256):
            for text in ("a", "x" * 2**21, "b"):
                self.peer.push_text(text)
            with ListenerThread():
                self.wait_confirmed(3)
        self.assertEqual(self.texts(), ["a", "b"])
        self.assertEqual(list(self.rejected().values()), ["an update that is no JSON, or too large"])

    def test_nul_and_lone_surrogates_are_taken_out_of_texts_and_names(self) -> None:
        self.peer.push_text(
            "a\x00b\ud83dc", chat_id=1, user_id=1, chat={"id": 1, "type": "private", "first_name": "N\x00\ud83d"},
            **{"from": {"id": 1, "is_bot": False, "first_name": "N\x00\udc00" + "n" * 3000}},
        )  # fmt: skip
        with ListenerThread():
            self.wait_confirmed(1)
        self.assertEqual(self.texts(), ["ab?c"])

    def test_an_event_that_no_transaction_takes_costs_no_other(self) -> None:
        accept = inbox.accept

        def choke(events: Any, **options: Any) -> inbox.Accepted:
            if any(event.text == "poison" for event in events):
                raise DataError("value too long")
            return accept(events, **options)

        self.accept_instead(choke)
        for text in ("one", "poison", "two"):
            self.peer.push_text(text)
        with ListenerThread(), self.assertLogs("gateway_app.platforms.receiving", "ERROR"):
            self.wait_confirmed(3)
        self.assertEqual(self.texts(), ["one", "two"])
        self.assertEqual(list(self.rejected().values()), ["it could not be accepted: DataError: value too long"])


class Trouble(ListeningTestCase):
    """What goes wrong is said in the listener's row, and passes."""

    def assert_recovers(self, words: str) -> None:
        with ListenerThread(), self.assertLogs("gateway_app.platforms.telegram.polling", "WARNING") as logs:
            wait(lambda: Listener.objects.filter(error__contains=words).exists(), what=f"the error {words!r}")
            self.peer.clear_faults()
            self.peer.push_text("hello")
            self.wait_confirmed(1)
            wait(lambda: self.error() == "")
        self.assertEqual(self.texts(), ["hello"])
        # Once, however often the same thing went wrong.
        self.assertEqual(len([line for line in logs.output if words in line]), 1, logs.output)
        self.assertNotIn(settings.TELEGRAM_BOT_TOKEN, "".join(logs.output))

    def test_a_refused_token(self) -> None:
        self.peer.fault("error", method="getMe", status=401, description="Unauthorized")
        self.assert_recovers("Telegram refused TELEGRAM_BOT_TOKEN: 401 Unauthorized")

    def test_another_program_that_polls(self) -> None:
        self.peer.fault(
            "error", method="getUpdates", status=409, description="Conflict: terminated by other getUpdates"
        )
        self.assert_recovers("another program polls this bot: 409")

    def test_a_flood_limit(self) -> None:
        self.peer.fault("flood", method="getUpdates", retry_after=1, times=1)
        self.assert_recovers("429 Too Many Requests")
        self.assertEqual(self.peer.stats["impatient"], 0)

    def test_a_server_that_fails(self) -> None:
        self.peer.fault("error", method="getUpdates")
        self.assert_recovers("Telegram refused a poll: 500")

    def test_a_server_that_is_no_bot_api(self) -> None:
        self.peer.fault("html", method="getUpdates", status=502)
        self.assert_recovers("HTTP 502, not the Bot API")

    def test_a_connection_that_is_dropped(self) -> None:
        self.peer.fault("refuse", method="getUpdates")
        self.assert_recovers("Telegram cannot be reached")

    def test_a_server_that_is_not_there_yet(self) -> None:
        self.peer.stop()
        threading.Timer(0.5, self.peer.start).start()
        with ListenerThread():
            self.peer.wait(lambda peer: peer.stats["polls"])
            self.peer.push_text("hello")
            self.wait_confirmed(1)
        self.assertEqual(self.texts(), ["hello"])

    def test_a_webhook_is_removed(self) -> None:
        self.peer.webhook = "https://elsewhere"
        self.peer.push_text("hello")
        with ListenerThread():
            self.wait_confirmed(1)
        self.assertEqual(self.peer.webhook, "")

    def test_a_broker_that_hangs_stops_no_polling(self) -> None:
        rung: list[list[SessionContext]] = []
        is_well = threading.Event()

        def hang(contexts: Any) -> None:
            rung.append(list(contexts))
            is_well.wait()

        with mock.patch.object(doorbell, "ring", hang), ListenerThread():
            for number in range(4):
                self.peer.push_text("hello", chat_id=number % 2 + 1)
                self.wait_confirmed(number + 1)
            self.assertEqual(len(rung), 1)
            is_well.set()
            wait(lambda: len(rung) == 2)
        # What waited was rung for together, each session once.
        self.assertEqual([len(contexts) for contexts in rung], [1, 2])

    @override_settings(CELERY_BROKER_URL="redis://127.0.0.1:1/0")
    def test_a_broker_that_is_not_there_costs_nothing_but_the_ring(self) -> None:
        self.peer.push_text("hello")
        with self.assertLogs("gateway_app.doorbell", "WARNING"), ListenerThread():
            self.wait_confirmed(1)
        self.assertEqual(self.texts(), ["hello"])


class Imports(SimpleTestCase):
    def test_what_workers_import_does_not_load_aiogram(self) -> None:
        # It takes 3 s and 150 MB; only listeners need it.
        program = (
            "import django, sys; django.setup(); import gateway_app.tasks; from gateway_app.platforms import registry;"
            " registry.get('telegram').split('x'); sys.exit('aiogram' in sys.modules)"
        )
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "hermes_site.settings"}
        subprocess.run([sys.executable, "-c", program], cwd=settings.BASE_DIR, env=environment, check=True)
