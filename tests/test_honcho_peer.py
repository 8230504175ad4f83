"""The Honcho peer itself: that Honcho's own client cannot tell it from the server, with its limits and its traps."""

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
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from django.conf import settings
from honcho import Honcho, Peer, Session
from honcho.api_types import PeerConfig, SessionPeerConfig
from honcho.http.exceptions import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    HonchoError,
    NotFoundError,
    RateLimitError,
    ServerError,
    UnprocessableEntityError,
)
from honcho.http.exceptions import ConnectionError as HonchoConnectionError
from honcho.http.exceptions import TimeoutError as HonchoTimeoutError

from tests.peers.honcho import HonchoPeer

WORKSPACE = "tenant"


class PeerTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.peer = HonchoPeer()
        self.peer.start()
        self.addCleanup(self.peer.stop)
        self.honcho = self.client()

    def client(self, *, timeout: float = 10, max_retries: int = 0, **fields: Any) -> Honcho:
        """A client of Honcho's own, whose connections are closed with the test."""
        connections = httpx.Client(timeout=timeout)
        self.addCleanup(connections.close)
        fields = {"api_key": "a-key", "workspace_id": WORKSPACE, **fields}
        return Honcho(
            base_url=self.peer.url, timeout=timeout, max_retries=max_retries, http_client=connections, **fields
        )

    def people(self, session_id: str = "chat") -> tuple[Session, Peer, Peer]:
        """A session with a person who is observed, and a bot that observes."""
        ann, bot = self.honcho.peer("ann"), self.honcho.peer("bot")
        session = self.honcho.session(
            session_id,
            peers=[
                (ann, SessionPeerConfig(observe_me=True, observe_others=False)),
                (bot, SessionPeerConfig(observe_me=False, observe_others=True)),
            ],
        )
        return session, ann, bot

    def texts(self, session_id: str = "chat") -> list[str]:
        return [message["content"] for message in self.peer.messages(session_id)]

    def refused(self, use: Callable[[], Any], kind: type[HonchoError], *, saying: str = "") -> HonchoError:
        with self.assertRaises(kind) as caught:
            use()
        self.assertIn(saying, str(caught.exception))
        return caught.exception

    def raw(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A call that Honcho's client would not make."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.peer.url}/v3/workspaces{path}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


class Talking(PeerTestCase):
    def test_messages_are_kept_in_order_and_read_back_whole(self) -> None:
        session, ann, bot = self.people()
        at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        stored = session.add_messages(
            [ann.message("hello", metadata={"turn_id": 7, "part": 0}, created_at=at), bot.message("good day")]
        )
        self.assertEqual([message.peer_id for message in stored], ["ann", "bot"])
        self.assertEqual((stored[0].created_at, stored[0].metadata), (at, {"turn_id": 7, "part": 0}))
        listed = session.messages(size=1)
        self.assertEqual((listed.total, listed.pages, [message.content for message in listed.items]), (2, 2, ["hello"]))
        self.assertEqual([message.content for message in session.messages(size=1)], ["hello", "good day"])
        self.assertEqual([message.content for message in session.messages(reverse=True)], ["good day", "hello"])
        self.assertEqual(session.get_message(stored[0].id).content, "hello")
        session.update_message(stored[0].id, {"seen": True})
        self.assertEqual(session.get_message(stored[0].id).metadata, {"seen": True})

    def test_a_turn_is_found_by_its_metadata(self) -> None:
        session, ann, _ = self.people()
        session.add_messages([ann.message(f"{n}", metadata={"turn_id": n}) for n in range(5)])
        self.assertEqual(session.messages(filters={"metadata": {"turn_id": 3}}, size=1).total, 1)
        self.assertEqual(session.messages(filters={"metadata": {"turn_id": 9}}, size=1).total, 0)
        self.assertEqual(session.messages(filters={"metadata": {"turn_id": {"in": [1, 2, 9]}}}).total, 2)
        self.assertEqual(session.messages(filters={"OR": [{"peer_id": "bot"}, {"metadata": {"turn_id": 0}}]}).total, 1)
        self.refused(lambda: session.messages(filters={"turn_id": 3}), UnprocessableEntityError, saying="turn_id")

    def test_equal_messages_are_stored_as_often_as_they_are_sent(self) -> None:
        session, ann, _ = self.people()
        for _ in range(3):
            session.add_messages(ann.message("once?", metadata={"turn_id": 1}))
        self.assertEqual(self.texts(), ["once?"] * 3)

    def test_unknown_writers_join_and_unknown_sessions_read_as_empty(self) -> None:
        session = Session("later", self.honcho)
        self.assertEqual(list(session.messages()), [])
        self.assertEqual(session.context(tokens=100).messages, [])
        session.add_messages(self.honcho.peer("ann").message("first"))
        self.assertEqual([peer.id for peer in session.peers()], ["ann"])

    def test_a_file_becomes_messages_of_at_most_25000_characters(self) -> None:
        session, ann, _ = self.people()
        stored = session.upload_file(("MEMORY.md", b"x" * 30_000, "text/markdown"), ann, metadata={"file": 1})
        self.assertEqual([len(message.content) for message in stored], [25_000, 5_000])
        self.assertEqual(stored[1].metadata, {"file": 1})
        big = ("big.md", b"x" * (5 * 1024 * 1024 + 1), "text/markdown")
        self.assertEqual(self.refused(lambda: session.upload_file(big, ann), APIError).status, 413)

    def test_nul_is_stripped(self) -> None:
        session, ann, _ = self.people()
        session.add_messages(ann.message("a\x00b"))
        self.assertEqual(self.texts(), ["ab"])


class Limits(PeerTestCase):
    def test_ids_have_letters_digits_hyphens_and_underscores_and_at_most_512(self) -> None:
        for bad in ("a.b", "a:b", "a@b", "a b", "имя", "", "x" * 513):
            for path in ("", f"/{WORKSPACE}/peers", f"/{WORKSPACE}/sessions"):
                with self.subTest(bad=bad[:5], path=path):
                    status, body = self.raw("POST", path, {"id": bad})
                    self.assertEqual((status, body["detail"][0]["loc"]), (422, ["body", "id"]))
        self.assertEqual(self.raw("POST", f"/{WORKSPACE}/peers", {"id": "x" * 512})[0], 201)
        self.assertEqual(self.raw("POST", f"/{WORKSPACE}/peers", {"id": "x" * 512})[0], 200)

    def test_messages_are_1_to_100_of_at_most_25000_characters(self) -> None:
        def send(count: int, length: int = 1, **fields: Any) -> int:
            message = {"content": "x" * length, "peer_id": "ann", **fields}
            return self.raw("POST", f"/{WORKSPACE}/sessions/chat/messages", {"messages": [message] * count})[0]

        self.assertEqual([send(1), send(100), send(0), send(101)], [201, 201, 422, 422])
        self.assertEqual([send(1, 0), send(1, 25_000), send(1, 25_001)], [201, 201, 422])
        self.assertEqual(send(1, metadata={str(n): n for n in range(101)}), 422)
        deep = {"1": {"2": {"3": {"4": {"5": {}}}}}}
        self.assertEqual([send(1, metadata=deep["1"]), send(1, metadata=deep)], [201, 422])
        self.assertEqual(send(1, peer_id="../sessions/x"), 422)
        self.assertEqual(len(self.texts()), 104)

    def test_one_bad_message_keeps_its_whole_batch_out(self) -> None:
        messages = [{"content": "x", "peer_id": "ann"}, {"content": "y" * 25_001, "peer_id": "ann"}]
        status, body = self.raw("POST", f"/{WORKSPACE}/sessions/chat/messages", {"messages": messages})
        self.assertEqual((status, body["detail"][0]["loc"]), (422, ["body", "messages", 1, "content"]))
        self.assertEqual(
            (body["detail"][0]["type"], body["detail"][0]["ctx"]), ("string_too_long", {"max_length": 25_000})
        )
        self.assertEqual(self.peer.stats["messages"], 0)

    def test_a_refusal_has_the_whole_of_what_it_refuses(self) -> None:
        session, ann, _ = self.people()
        error = self.refused(
            lambda: session.add_messages(ann.message("secret" * 5000)), UnprocessableEntityError, saying="secretsecret"
        )
        self.assertEqual(error.status, 422)

    def test_pages_searches_chats_and_contexts_have_their_bounds(self) -> None:
        self.people()
        asked = [
            ("POST", "/sessions/chat/messages/list?size=101", {}), ("POST", "/sessions/chat/messages/list?page=0", {}),
            ("POST", "/search", {"query": "x", "limit": 101}), ("POST", "/search", {"query": "x", "limit": 0}),
            ("POST", "/conclusions/query", {"query": "x", "top_k": 101}),
            ("POST", "/peers/bot/chat", {"query": ""}), ("POST", "/peers/bot/chat", {"query": "x" * 10_001}),
            ("POST", "/peers/bot/chat", {"query": "x", "reasoning_level": "huge"}),
            ("GET", "/sessions/chat/context?tokens=100001", None),
            ("GET", "/sessions/chat/context?max_conclusions=101&peer_target=ann", None),
            ("GET", "/sessions/chat/context?peer_perspective=bot", None),
            ("PUT", "/peers/ann/card", {"peer_card": "no list"}),
        ]  # fmt: skip
        for method, path, body in asked:
            with self.subTest(path=path, body=str(body)[:40]):
                self.assertEqual(self.raw(method, f"/{WORKSPACE}{path}", body)[0], 422)

    def test_conclusions_are_1_to_100_of_known_peers_and_sessions(self) -> None:
        self.people()

        def conclude(count: int = 1, **fields: Any) -> int:
            one = {"content": "x", "observer_id": "bot", "observed_id": "ann", **fields}
            return self.raw("POST", f"/{WORKSPACE}/conclusions", {"conclusions": [one] * count})[0]

        self.assertEqual([conclude(1), conclude(100), conclude(0), conclude(101)], [201, 201, 422, 422])
        self.assertEqual([conclude(content=""), conclude(content="x" * 40_000)], [422, 422])
        self.assertEqual([conclude(observed_id="nobody"), conclude(session_id="none")], [404, 404])

    def test_a_session_has_at_most_ten_observers(self) -> None:
        def peers(count: int) -> list[tuple[str, SessionPeerConfig]]:
            return [(f"p{n}", SessionPeerConfig(observe_others=True)) for n in range(count)]

        self.refused(lambda: self.honcho.session("many", peers=peers(11)), BadRequestError)
        session = self.honcho.session("many", peers=peers(10))
        self.refused(lambda: session.add_peers([("more", SessionPeerConfig(observe_others=True))]), BadRequestError)
        self.assertEqual(len(session.peers()), 10)


class Remembering(PeerTestCase):
    def test_a_card_belongs_to_a_pair_and_is_replaced_whole(self) -> None:
        _, ann, bot = self.people()
        self.assertIsNone(ann.get_card())
        ann.set_card(["likes tea", "lives in Riga"])
        bot.set_card(["is patient"], target=ann)
        self.assertEqual(ann.get_card(), ["likes tea", "lives in Riga"])
        self.assertEqual(bot.get_card(target=ann), ["is patient"])
        ann.set_card([])
        self.assertEqual((ann.get_card(), bot.get_card(target=ann)), ([], ["is patient"]))
        self.refused(Peer("nobody", self.honcho).get_card, NotFoundError)

    def test_conclusions_are_listed_newest_first_found_and_deleted_once(self) -> None:
        session, ann, bot = self.people()
        of_ann = bot.conclusions_of(ann)
        first, second = of_ann.create(
            [{"content": "likes tea"}, {"content": "fears heights", "session_id": session.id}]
        )
        self.assertEqual([found.content for found in of_ann.list()], ["fears heights", "likes tea"])
        self.assertEqual([found.content for found in of_ann.query("tea?", top_k=1)], ["likes tea"])
        self.assertEqual(next(iter(of_ann.list(session=session))).id, second.id)
        self.assertEqual((second.session_id, first.session_id, first.observed_id), (session.id, None, "ann"))
        self.assertEqual(list(ann.conclusions.list()), [])
        of_ann.delete(first.id)
        self.refused(lambda: of_ann.delete(first.id), NotFoundError)

    def test_anybody_may_delete_anybodys_conclusion(self) -> None:
        _, ann, bot = self.people()
        (hers,) = bot.conclusions_of(ann).create([{"content": "likes tea"}])
        self.honcho.peer("mallory").conclusions.delete(hers.id)
        self.assertEqual(self.peer.conclusions(), [])

    def test_a_search_finds_everybodys_messages_unless_it_is_filtered(self) -> None:
        session, ann, _ = self.people()
        session.add_messages(ann.message("my cat is called Miro"))
        other, eve, group = self.honcho.session("other"), self.honcho.peer("eve"), self.honcho.session("group")
        other.add_messages(eve.message("my cat is called Nox"))
        group.add_messages([ann.message("cats!"), eve.message("cats, yes")])

        def found(**filters: str) -> set[str]:
            return {message.content for message in self.honcho.search("which cat is called what", filters=filters)}

        self.assertEqual(len(found()), 4)
        self.assertEqual(found(peer_perspective="ann"), {"my cat is called Miro", "cats!", "cats, yes"})
        self.assertEqual(found(peer_perspective="nobody"), set())
        self.assertEqual(found(session_id="other"), {"my cat is called Nox"})
        self.assertEqual({message.peer_id for message in ann.search("cat")}, {"ann"})
        self.assertEqual(len(session.search("cat", limit=1)), 1)
        self.refused(lambda: found(perspective="ann"), UnprocessableEntityError)

    def test_a_context_has_what_its_pair_holds_and_the_last_messages_that_fit(self) -> None:
        session, ann, bot = self.people()
        session.add_messages([ann.message(f"message {n} " + "x" * 390) for n in range(10)])
        bot.conclusions_of(ann).create([{"content": "likes tea"}])
        ann.conclusions.create([{"content": "likes coffee"}])
        ann.set_card(["a card of her own"])
        context = session.context(summary=True, tokens=300, peer_target="ann", peer_perspective="bot")
        self.assertIn("likes tea", str(context.peer_representation))
        self.assertNotIn("coffee", str(context.peer_representation))
        self.assertIsNone(context.peer_card)
        self.assertEqual([message.content[:9] for message in context.messages], ["message 8", "message 9"])
        own = session.context(peer_target="ann")
        self.assertEqual((own.peer_card, "coffee" in str(own.peer_representation)), (["a card of her own"], True))
        limited = session.context(peer_target="ann", limit_to_session=True)
        self.assertEqual((limited.peer_card, limited.peer_representation or ""), (None, ""))

    def test_tokens_do_not_bound_a_representation_but_max_conclusions_does(self) -> None:
        session, ann, _ = self.people()
        session.add_messages(ann.message("hello"))
        for _ in range(5):
            ann.conclusions.create([{"content": "x" * 200}] * 20)
        whole = session.context(tokens=500, peer_target="ann")
        self.assertGreater(len(str(whole.peer_representation)), 20_000)
        self.assertEqual(whole.messages, [])
        self.assertLess(
            len(str(session.context(tokens=500, peer_target="ann", max_conclusions=5).peer_representation)), 1300
        )

    def test_of_an_unknown_peer_there_is_no_context_but_an_empty_representation_and_an_answer(self) -> None:
        nobody = Peer("nobody", self.honcho)
        self.refused(nobody.context, NotFoundError)
        self.assertEqual(nobody.representation(), "")
        self.assertEqual(nobody.chat("who are you?"), "nobody says of nobody: who are you?")

    def test_a_chat_answers_whole_or_piece_by_piece(self) -> None:
        _, ann, bot = self.people()
        self.peer.chat_answer = "{observer} knows that {observed} asked: {query}"
        whole = "bot knows that ann asked: tea or coffee?"
        self.assertEqual(bot.chat("tea or coffee?", target=ann, reasoning_level="low"), whole)
        pieces = list(bot.chat_stream("tea or coffee?", target=ann))
        self.assertEqual(("".join(pieces), len(pieces) > 1), (whole, True))
        self.peer.chat_answer = ""
        self.assertIsNone(bot.chat("anything"))

    def test_what_a_newer_server_would_have_is_not_there(self) -> None:
        self.people()
        self.refused(lambda: self.honcho.chat("hello"), NotFoundError)
        self.assertEqual(self.refused(lambda: self.honcho.peer("ann").conclusions.get("x"), APIError).status, 405)


class Observing(PeerTestCase):
    def test_who_observes_holds_what_was_said(self) -> None:
        session, ann, bot = self.people()
        session.add_messages([ann.message("I like tea"), bot.message("Noted")])
        self.assertEqual(self.honcho.queue_status().pending_work_units, 2)
        self.peer.derive()
        self.assertEqual(self.honcho.queue_status().pending_work_units, 0)
        self.assertIn("I like tea", ann.representation())
        self.assertIn("I like tea", bot.representation(target=ann))
        self.assertEqual(bot.representation(), "")

    def test_adding_a_member_who_is_there_already_changes_nothing(self) -> None:
        ann, bot = self.honcho.peer("ann"), self.honcho.peer("bot")
        session = Session("chat", self.honcho)
        session.add_messages([ann.message("hello"), bot.message("good day")])
        wanted = SessionPeerConfig(observe_me=False, observe_others=True)
        session.add_peers([(bot, wanted)])
        self.assertEqual(session.get_peer_configuration(bot).observe_others, None)
        session.set_peer_configuration(bot, wanted)
        self.assertEqual(session.get_peer_configuration(bot).observe_others, True)
        session.set_peers([(bot, SessionPeerConfig(observe_others=False)), ann])
        self.assertEqual(session.get_peer_configuration(bot).observe_others, False)

    def test_what_was_set_before_the_first_message_stays(self) -> None:
        session, ann, bot = self.people()
        session.add_messages([ann.message("hello"), bot.message("good day")])
        found = session.get_peer_configuration(bot)
        self.assertEqual((found.observe_me, found.observe_others), (False, True))

    def test_who_is_set_aside_leaves(self) -> None:
        session, ann, bot = self.people()
        session.set_peers([ann])
        self.assertEqual([peer.id for peer in session.peers()], ["ann"])
        session.add_peers([bot])
        session.remove_peers([ann])
        self.assertEqual([peer.id for peer in session.peers()], ["bot"])

    def test_a_peers_own_configuration_and_metadata_are_kept(self) -> None:
        self.honcho.peer("ann", configuration=PeerConfig(observe_me=False), metadata={"name": "Ann"})
        found = self.honcho.peer("ann")
        self.assertEqual(found.get_metadata(), {"name": "Ann"})
        self.assertEqual([peer.id for peer in self.honcho.peers()], ["ann"])

    def test_summaries_come_every_20_and_every_60_messages(self) -> None:
        session, ann, _ = self.people()
        session.add_messages([ann.message(f"message {n}") for n in range(65)])
        self.assertIsNone(session.summaries().short_summary)
        self.peer.derive()
        summaries = session.summaries()
        assert summaries.short_summary and summaries.long_summary
        self.assertIn("60 messages", summaries.short_summary.content)
        context = session.context(summary=True, tokens=2000)
        assert context.summary
        self.assertEqual((context.summary.summary_type, len(context.messages)), ("long", 5))


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
