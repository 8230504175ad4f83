"""The Honcho peer itself: that Honcho's own client cannot tell it from the server, with its limits and its traps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from honcho import Peer, Session
from honcho.api_types import PeerConfig, SessionPeerConfig
from honcho.http.exceptions import (
    APIError,
    BadRequestError,
    NotFoundError,
    UnprocessableEntityError,
)

from tests.honcho_peer_case import WORKSPACE, PeerTestCase


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
