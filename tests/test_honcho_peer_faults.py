"""The Honcho peer itself: what it forgets, what it can be made to do wrong, and what it remembers of requests."""

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
from typing import Any

from django.conf import settings
from honcho import Peer, Session
from honcho.http.exceptions import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    RateLimitError,
    ServerError,
)
from honcho.http.exceptions import ConnectionError as HonchoConnectionError
from honcho.http.exceptions import TimeoutError as HonchoTimeoutError

from tests.honcho_peer_case import WORKSPACE, PeerTestCase


class Deleting(PeerTestCase):
    def test_a_deleted_session_is_gone_by_its_id_and_readable_until_the_worker_comes(self) -> None:
        session, ann, bot = self.people()
        session.add_messages(ann.message("hello"))
        bot.conclusions_of(ann).create([{"content": "kept"}, {"content": "of the session", "session_id": session.id}])
        ann.set_card(["kept"])
        self.peer.worker_is_paused = True
        session.delete()
        self.refused(lambda: session.add_messages(ann.message("more")), NotFoundError)
        self.refused(lambda: self.honcho.session(session.id), NotFoundError)
        self.refused(session.delete, NotFoundError)
        self.assertEqual([message.content for message in session.messages()], ["hello"])
        self.assertEqual(len(self.honcho.search("hello", filters={"peer_perspective": "ann"})), 1)
        self.refused(lambda: self.honcho.delete_workspace(WORKSPACE), ConflictError)
        self.peer.worker_is_paused = False
        self.assertEqual(list(session.messages()), [])
        self.assertEqual(self.honcho.search("hello"), [])
        self.assertEqual([found.content for found in bot.conclusions_of(ann).list()], ["kept"])
        self.assertEqual(ann.get_card(), ["kept"])
        self.honcho.delete_workspace(WORKSPACE)

    def test_the_worker_comes_when_it_is_told_to(self) -> None:
        session, ann, _ = self.people()
        session.add_messages(ann.message("hello"))
        self.peer.worker_delay = 3600
        session.delete()
        self.assertEqual(self.texts(), ["hello"])
        self.peer.worker_delay = 0
        self.assertEqual(self.texts(), [])


class Paths(PeerTestCase):
    """What an id does that its caller did not check. Nothing but a check of our own is in the way."""

    def setUp(self) -> None:
        super().setUp()
        session, ann, _ = self.people("victim-dm")
        session.add_messages(ann.message("private"))
        ann.set_card(["private card"])

    def test_a_conclusion_id_deletes_a_session(self) -> None:
        self.honcho.peer("mallory").conclusions.delete("../sessions/victim-dm")
        self.assertEqual(self.texts("victim-dm"), [])

    def test_a_session_id_reads_another_session(self) -> None:
        read = Session("mine/../../sessions/victim-dm", self.honcho).messages()
        self.assertEqual([message.content for message in read], ["private"])

    def test_a_peer_id_reads_another_peers_card(self) -> None:
        self.assertEqual(Peer("mallory/../ann", self.honcho).get_card(), ["private card"])


class Faults(PeerTestCase):
    def test_a_late_answer_stores_a_message_for_each_attempt(self) -> None:
        session, ann, _ = self.people()
        impatient = self.client(timeout=0.2, max_retries=2)
        self.peer.fault("late", operation="create_messages", seconds=30)
        self.refused(lambda: Session("chat", impatient).add_messages(ann.message("hello")), HonchoTimeoutError)
        self.assertEqual(self.texts(), ["hello"] * 3)
        self.peer.clear_faults()
        self.assertEqual(session.messages().total, 3)

    def test_a_connection_dropped_after_the_commit_stores_one_more_than_it_says(self) -> None:
        _, ann, _ = self.people()
        self.peer.fault("drop", operation="create_messages", times=1)
        stored = Session("chat", self.client(max_retries=2)).add_messages(ann.message("hello"))
        self.assertEqual((len(stored), self.texts()), (1, ["hello"] * 2))

    def test_without_retries_a_dropped_connection_raises_and_stores_once(self) -> None:
        session, ann, _ = self.people()
        self.peer.fault("drop", operation="create_messages", times=1)
        self.refused(lambda: session.add_messages(ann.message("hello")), HonchoConnectionError)
        self.assertEqual(self.texts(), ["hello"])

    def test_a_slow_server_stores_also_for_a_client_that_has_gone(self) -> None:
        _, ann, _ = self.people()
        self.peer.fault("slow", operation="create_messages", seconds=0.5, times=1)
        hasty = Session("chat", self.client(timeout=0.1))
        self.refused(lambda: hasty.add_messages(ann.message("hello")), HonchoTimeoutError)
        self.assertEqual(self.texts(), [])
        stored = threading.Event()
        while not self.texts():
            stored.wait(0.02)
        self.assertEqual(self.texts(), ["hello"])

    def test_what_hangs_or_is_refused_is_not_carried_out(self) -> None:
        _, ann, _ = self.people()
        hasty = Session("chat", self.client(timeout=0.2))
        self.peer.fault("hang", times=1)
        self.refused(lambda: hasty.add_messages(ann.message("hello")), HonchoTimeoutError)
        self.peer.fault("refuse", times=1)
        self.refused(lambda: hasty.add_messages(ann.message("hello")), HonchoConnectionError)
        self.assertEqual(self.texts(), [])
        self.assertEqual([request["carried_out"] for request in self.peer.requests[-2:]], [False, False])

    def test_errors_come_as_often_as_they_are_told_to_and_only_where(self) -> None:
        session, ann, _ = self.people()
        other = self.honcho.session("other")
        self.peer.fault("error", operation="create_messages", session="chat", status=503, times=2)
        for _ in range(2):
            self.refused(lambda: session.add_messages(ann.message("hello")), ServerError)
            other.add_messages(ann.message("hello"))
        session.add_messages(ann.message("hello"))
        self.peer.fault("error", operation="create_messages", status=429, retry_after=3600, after=1, times=1)
        session.add_messages(ann.message("hello"))
        with self.assertRaises(RateLimitError) as caught:
            session.add_messages(ann.message("hello"))
        self.assertEqual(caught.exception.retry_after, 3600)
        self.assertEqual((len(self.texts()), len(self.texts("other"))), (2, 2))

    def test_without_the_embedding_provider_writing_goes_on_and_searching_does_not(self) -> None:
        session, ann, bot = self.people()
        self.peer.fail_embedding()
        session.add_messages(ann.message("hello"))
        self.assertEqual(len(session.context().messages), 1)
        for use in (
            lambda: self.honcho.search("hello"),
            lambda: bot.conclusions_of(ann).create([{"content": "likes tea"}]),
            lambda: bot.conclusions_of(ann).query("tea"),
            lambda: bot.chat("tea?"),
        ):
            self.refused(use, ServerError)

    def test_a_wrong_key_is_refused(self) -> None:
        self.peer.api_key = "the-key"
        self.refused(lambda: self.honcho.peer("ann"), AuthenticationError)
        self.assertEqual(self.client(api_key="the-key").peer("ann").id, "ann")

    def test_a_server_that_is_away_comes_back_with_what_it_had(self) -> None:
        session, ann, _ = self.people()
        session.add_messages(ann.message("before"))
        self.peer.stop()
        self.refused(lambda: session.add_messages(ann.message("meanwhile")), HonchoConnectionError)
        self.peer.start()
        session.add_messages(ann.message("after"))
        self.assertEqual(self.texts(), ["before", "after"])

    def test_an_unknown_fault_or_operation_is_an_error(self) -> None:
        with self.assertRaisesRegex(ValueError, "allowed: error, late"):
            self.peer.fault("explode")
        with self.assertRaisesRegex(ValueError, "create_messages"):
            self.peer.fault("error", operation="add_messages")


class Recording(PeerTestCase):
    def test_each_request_is_recorded_with_every_session_and_peer_that_it_names(self) -> None:
        session, ann, bot = self.people()
        session.add_messages([ann.message("hello"), bot.message("good day")])
        bot.conclusions_of(ann).create([{"content": "likes tea", "session_id": session.id}])
        self.honcho.search("tea", filters={"peer_perspective": "ann"})
        session.context(peer_target="ann", peer_perspective="bot")
        bot.get_card(target=ann)
        found = {request["operation"]: request for request in self.peer.requests}
        names = {operation: (each["sessions"], sorted(each["peers"])) for operation, each in found.items()}
        both = ["ann", "bot"]
        self.assertEqual(
            names,
            {
                "get_or_create_workspace": ([], []),
                "get_or_create_peer": ([], ["bot"]),
                "get_or_create_session": (["chat"], both),
                "create_messages": (["chat"], both),
                "create_conclusions": (["chat"], both),
                "search": ([], ["ann"]),
                "context": (["chat"], both),
                "get_card": ([], both),
            },
        )
        self.assertEqual({request["workspace"] for request in self.peer.requests}, {WORKSPACE})
        self.assertEqual(found["create_messages"]["status"], 201)
        self.assertEqual(len(found["create_messages"]["digest"]), 64)
        self.assertEqual(found["search"]["body"]["query"], "tea")


class Asynchronously(PeerTestCase):
    def test_the_asynchronous_client_agrees(self) -> None:
        async def use() -> list[str]:
            ann = await self.honcho.aio.peer("ann")
            session = await self.honcho.aio.session("chat", peers=[ann])
            await asyncio.gather(*(session.aio.add_messages(ann.message(f"{n}")) for n in range(20)))
            page = await session.aio.messages(size=100)
            return [message.content for message in page.items]

        self.assertCountEqual(asyncio.run(use()), map(str, range(20)))


class Command(unittest.TestCase):
    def test_it_serves_as_a_command_with_its_controls(self) -> None:
        command = [sys.executable, "-m", "tests.peers.honcho", "--keep", "2", "--api-key", "k"]
        with subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                url = process.stdout.readline().strip()

                def ask(path: str, body: Any = None) -> Any:
                    data = None if body is None else json.dumps(body).encode()
                    headers = {"Content-Type": "application/json", "Authorization": "Bearer k"}
                    with urllib.request.urlopen(
                        urllib.request.Request(url + path, data, headers), timeout=10
                    ) as answer:
                        return json.load(answer)

                self.assertEqual(ask("/health"), {"status": "ok"})
                send = "/v3/workspaces/w/sessions/chat/messages"
                for text in ("a", "b", "c"):
                    ask(send, {"messages": [{"content": text, "peer_id": "ann"}]})
                self.assertEqual([each["content"] for each in ask("/_/messages?session=chat")], ["a", "b", "c"])
                self.assertEqual(list(ask("/_/messages?workspace=w")), ["chat"])
                self.assertEqual([each["number"] for each in ask("/_/requests")], [2, 3])
                ask("/_/fault", {"kind": "error", "status": 503, "times": 1})
                with self.assertRaises(urllib.error.HTTPError):
                    ask(send, {"messages": [{"content": "d", "peer_id": "ann"}]})
                self.assertEqual(ask("/_/faults")[0]["met"], 1)
                ask("/_/derive", {})
                self.assertEqual(len(ask("/_/conclusions")), 3)
                ask("/_/set", {"delay": 0.01, "worker_is_paused": True})
                self.assertEqual(ask("/_/stats")["messages"], 3)
                ask("/_/reset", {})
                self.assertEqual(ask("/_/stats")["messages"], 0)
            finally:
                process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=10), 0)
